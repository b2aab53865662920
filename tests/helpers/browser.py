"""Pages in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page, and what it complained of or asked for."""
    trouble: list[str] = []
    page = browser.new_context(**options).new_page()
    page.on("console", lambda said: trouble.append(said.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on(
        "request",
        lambda asked: trouble.extend([] if asked.url.startswith("file:") else [asked.url]),
    )
    page.goto(path.as_uri())
    return page, trouble
