"""Where we keep what is worth keeping between runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import platformdirs

#: What a matrix's name ends with.
MATRICES = (".yaml", ".yml", ".json")


def cache() -> Path:
    """The user's cache folder for yogurtbench; YOGURTBENCH_CACHE overrides it. Not created here."""
    named = os.environ.get("YOGURTBENCH_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("yogurtbench", appauthor=False)


def experiments() -> Path:
    """The folder of our own matrices: inside an installed package, beside it in a clone."""
    package = Path(__file__).parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def matrix(path: Path) -> Path:
    """The matrix a path names: a file, or one of ours (``experiments/<name>.yaml``) where there is no such file."""
    ours = experiments() / path.name
    return ours if not os.path.exists(path) and path.parent == Path("experiments") and ours.is_file() else path


def matrices(folder: Path) -> list[str]:
    """Files of a folder that could be a matrix, and our own, as a command line names them."""
    there = sorted(path for path in folder.glob("*") if path.suffix in MATRICES and path.is_file())
    ours = [Path("experiments", path.name) for path in sorted(experiments().glob("*.yaml"))]
    return list(dict.fromkeys(map(str, [*there, *ours])))


def clean(*, everything: bool) -> Iterator[Path]:
    """Remove what broken builds left half made, or the whole cache; yields what was removed."""
    folder = cache()
    found = [folder] if everything and folder.is_dir() else [*folder.glob("**/.making-*"), *folder.glob("**/.*.part")]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield path
