"""The folders for what is kept between runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs

from yogurtbench.core.errors import HostError, MatrixError

#: What a matrix's name ends with.
MATRICES = (".yaml", ".yml", ".json")

#: What lies in the cache folder.
CACHED = ("guest", "headers")


def cache() -> Path:
    """Return the user's cache folder for yogurtbench; YOGURTBENCH_CACHE overrides it.

    Not created here.
    """
    named = os.environ.get("YOGURTBENCH_CACHE")
    return (
        expanded(Path(named))
        if named
        else platformdirs.user_cache_path("yogurtbench", appauthor=False)
    )


def private_cache() -> Path:
    """Return :func:`cache`, for what is executed or believed from there.

    Raises HostError where others could put something else in its place.
    """
    folder = cache()
    if why := why_not_private(folder):
        raise HostError(
            f"{why}, and guests and headers are kept and believed there: chmod it, or name "
            "another folder with YOGURTBENCH_CACHE"
        )
    return folder


def why_not_private(folder: Path) -> str:
    """Return who else may write a folder, or take its place; empty where nobody may.

    A folder that is not there yet is as private as those above it.
    """
    place = Path(os.path.realpath(folder))
    for path in (place, *place.parents):
        try:
            found = path.stat()
        except OSError:
            continue
        if path == place and found.st_uid not in _ours():
            return f"{path} belongs to another user (uid {found.st_uid})"
        if found.st_mode & stat.S_IWOTH and not (path != place and found.st_mode & stat.S_ISVTX):
            return f"{path} can be written by everybody (mode {stat.S_IMODE(found.st_mode):o})"
    return ""


def _ours() -> set[int]:
    """Return the users that we trust: this one, root, and who called sudo(8)."""
    caller = os.environ.get("SUDO_UID", "")
    return {0, os.geteuid(), *([int(caller)] if caller.isdecimal() else [])}


def expanded(path: Path) -> Path:
    """Return a path with ``~`` or ``~user`` in front expanded.

    A shell does so for ``~/x``, not for ``--out=~/x``.

    A name whose user does not exist is left as it is. Raises MatrixError where the
    home is not known.
    """
    first = path.parts[0] if path.parts else ""
    if not first.startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        if first != "~":
            return path
    raise MatrixError(
        f"{path}: no home folder is known for ~ (HOME is not set): write the path in full"
    )


def beside(matrix: Path, word: str) -> Path:
    """Return the file that a matrix names: beside it, or where the path says."""
    return matrix.parent / expanded(Path(word))


def bundled(name: str) -> Path:
    """Return a folder that comes with us: inside an installed package, beside it in a clone."""
    package = Path(__file__).parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def experiments() -> Path:
    """Return the folder of our own matrices."""
    return bundled("experiments")


def matrix(path: Path) -> Path:
    """Return the matrix a path names.

    A file, or one of ours (``experiments/<name>.yaml``) where there is no such file.
    """
    ours = experiments() / path.name
    return (
        ours
        if not os.path.exists(path) and path.parent == Path("experiments") and ours.is_file()
        else path
    )


def matrices(folder: Path) -> list[str]:
    """Files of a folder that could be a matrix, and our own, as a command line names them."""
    there = sorted(path for path in folder.glob("*") if path.suffix in MATRICES and path.is_file())
    ours = [Path("experiments", path.name) for path in sorted(experiments().glob("*.yaml"))]
    return list(dict.fromkeys(map(str, [*there, *ours])))
