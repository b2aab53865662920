"""The Containerfile's steps in a Debian 13 root, since no container engine runs here (nox -s hosts;
as root).

    python tools/container.py                 builds the root, runs the steps, then doctor as `docker run … doctor`
                                              would, with Docker's default rights and with all of
                                              them
    python tools/container.py --root FOLDER   the same in a root that stays

What this cannot show: the base image itself, seccomp and AppArmor profiles, user namespaces of
rootless Podman.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hosts import inside, ready_root

HOME = Path(__file__).parent.parent
CONTAINERFILE = HOME / "Containerfile"
#: What Docker lets a container have unless told otherwise (containers-common's list is a subset).
DOCKERS_RIGHTS = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw "
    "sys_chroot mknod audit_write "
    "setfcap"
)


@dataclass
class Image:
    """What the steps so far have made of an image."""

    base: str = ""
    folder: str = "/"
    variables: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Containerfile, each with its arguments in one line."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            instruction, _, rest = line.strip().partition(" ")
            yield instruction, rest.strip()


def take(image: Image, instruction: str, rest: str) -> None:
    """What an instruction changes beside files.

    Raises ValueError for one that is not known here.
    """
    if instruction == "FROM":
        image.base = rest
    elif instruction == "ENV":
        image.variables |= dict(pair.split("=", 1) for pair in rest.split())
    elif instruction == "WORKDIR":
        image.folder = rest
    elif instruction == "ENTRYPOINT":
        image.entrypoint = json.loads(rest)
    elif instruction == "CMD":
        image.command = json.loads(rest)
    elif instruction == "VOLUME":
        image.volumes.append(rest)
    elif instruction not in ("RUN", "COPY"):
        raise ValueError(f"{instruction} is not known here")


def read(path: Path = CONTAINERFILE) -> Image:
    """All that a Containerfile says beside what it runs and copies."""
    image = Image()
    for instruction, rest in steps(path.read_text()):
        take(image, instruction, rest)
    return image


def make(root: Path) -> Image:
    """Run the steps in a root that stands for the base image."""
    image = Image()
    for instruction, rest in steps(CONTAINERFILE.read_text()):
        print(f"{instruction} {rest}", flush=True)
        take(image, instruction, rest)
        if instruction == "WORKDIR":
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            copy_all(root / image.folder.lstrip("/"), rest)
        elif instruction == "RUN":
            run(root, image, ["sh", "-c", rest])
        elif instruction == "VOLUME":
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    return image


def copy_all(target: Path, what: str) -> None:
    """What git knows of this checkout, as it is now: the ignore file leaves out the rest."""
    assert what == ". .", what
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=True
    ).stdout
    there = b"\0".join(
        name for name in listed.split(b"\0") if name and os.path.lexists(HOME / os.fsdecode(name))
    )
    subprocess.run(
        ["cpio", "-0", "-p", "-d", "-m", "--quiet", str(target)], cwd=HOME, input=there, check=True
    )


def run(root: Path, image: Image, command: list[str], rights: str = "") -> str:
    """Run a command in the image and return what it printed.

    ``rights``: the capabilities that it may ever have.
    """
    few = ["setpriv", f"--bounding-set=-all,+{',+'.join(rights.split())}"] if rights else []
    variables = [f"{name}={value}" for name, value in image.variables.items()]
    argv = inside(root, [*few, *command], image.folder, variables)
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, (
        f"{' '.join(command)} ended with exit code {done.returncode}: {done.stdout[-2000:]}"
    )
    return done.stdout


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument(
        "--root", type=Path, help="build the root here, or use the one that is here, and keep it"
    )
    options.add_argument(
        "--run", action="store_true", help="run the quickstart too, with Docker's default rights"
    )
    wanted = options.parse_args()
    with ready_root(wanted.root) as root:
        image = make(root)
        for rights in (DOCKERS_RIGHTS, ""):
            answer = run(root, image, [*image.entrypoint, "doctor"], rights).splitlines()[0]
            print(f"{'default rights' if rights else 'privileged'}: {answer}")
            assert answer.startswith("Everything runs here"), answer
        if wanted.run:
            print(run(root, image, [*image.entrypoint, *image.command], DOCKERS_RIGHTS))
    print("the steps of the Containerfile run, and its entry point says that everything runs")


if __name__ == "__main__":
    main()
