"""What the documentation shows: its fenced blocks, the files it names, and its commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

HOME = Path(__file__).parents[2]
#: which-wire.md is generated from a run; its one command is in recipes.md too.
PAGES = [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:\./yb|yogurtbench) [^`]+)`(?!`)")
RUN = re.compile(r"results/([\w-]+)/(\d{8}T\d{6}Z-[0-9a-f]{6})")


@dataclass(frozen=True)
class Block:
    """A fenced block: ``name`` is the file that its info string names, if any."""

    page: Path
    language: str
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line that a reader would type, its words without comments."""

    page: Path
    words: tuple[str, ...]

    @property
    def ours(self) -> bool:
        """Whether it is a command line of yogurtbench, and not of yb test or another tool."""
        return self.words[0] in ("./yb", "yogurtbench") and self.words[1] != "test"

    @property
    def arguments(self) -> list[str]:
        """The command line without the program; a redirection is the shell's."""
        words = self.words[1:]
        return list(words[: words.index(">")] if ">" in words else words)

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def blocks() -> list[Block]:
    """Every fenced block of every page."""
    return [
        Block(page, language, name.strip(), text)
        for page in PAGES
        for language, name, text in _FENCE.findall(page.read_text())
    ]


def files() -> dict[str, str]:
    """The files that the documentation has its readers write, by name."""
    return {block.name: block.text for block in blocks() if block.name}


def commands() -> list[Command]:
    """Every command line of the fenced blocks, workflows included, each once a page."""
    return list(
        dict.fromkeys(Command(page, words) for page, line in _lines() if (words := _words(line)))
    )


def inline() -> list[Command]:
    """Command lines in running text: ``./yb plan my.yaml``."""
    found = [(page, line) for page in PAGES for line in _INLINE.findall(_without_fences(page))]
    return list(dict.fromkeys(Command(page, _words(line)) for page, line in found))


def runs() -> set[tuple[str, str]]:
    """The run folders that commands and Python blocks name: (experiment, run)."""
    return {found for block in blocks() for found in RUN.findall(block.text)}


def _lines() -> Iterator[tuple[Path, str]]:
    for block in blocks():
        if block.language == "sh":
            yield from ((block.page, line) for line in block.text.replace("\\\n", "").splitlines())
        if block.language == "console":
            prompted = (line for line in block.text.splitlines() if line.startswith("$ "))
            yield from ((block.page, line.removeprefix("$ ")) for line in prompted)
        if block.name.startswith(".github/"):
            jobs = YAML(typ="safe").load(block.text)["jobs"].values()
            yield from (
                (block.page, step["run"]) for job in jobs for step in job["steps"] if "run" in step
            )


def _words(line: str) -> tuple[str, ...]:
    return tuple(shlex.split(line, comments=True))


def _without_fences(page: Path) -> str:
    return _FENCE.sub("", page.read_text())
