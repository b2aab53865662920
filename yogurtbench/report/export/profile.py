"""The files of a profile: the page, the contract's JSON, and what other programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from yogurtbench.core import files
from yogurtbench.profile import formats
from yogurtbench.profile.profile import Profile, as_json
from yogurtbench.report.pages import profile as page

PAGE = "profile.html"
_FORMATS: dict[str, Callable[[Profile], str]] = {
    "profile.callgrind": formats.callgrind,
    "profile.folded": formats.folded,
    "profile.speedscope.json": formats.speedscope,
}


def write(profile: Profile, against: Profile | None, folder: Path) -> None:
    """Write all files into a folder, made where it is not there.

    Raises MatrixError or HostError where it cannot be written.
    """
    with files.explaining_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    texts = {name: write_it(profile) for name, write_it in _FORMATS.items()}
    texts["profile.json"] = json.dumps(as_json(profile, against), indent=1) + "\n"
    texts[PAGE] = page.render(profile, against)
    for name, text in texts.items():
        files.write_text(folder / name, text, follow=False)
