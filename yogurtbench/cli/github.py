"""GitHub Actions: a report in the job's summary, regressions as annotations.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
from pathlib import Path

from yogurtbench.core.errors import HostError, MatrixError

#: Names the file whose Markdown the job's page shows.
VARIABLE = "GITHUB_STEP_SUMMARY"


def summary() -> Path:
    """Return the file of the job's summary. Raises MatrixError outside of a workflow."""
    named = os.environ.get(VARIABLE)
    if not named:
        raise MatrixError(
            f"--github: {VARIABLE} is not set: GitHub Actions names the summary's file in it"
        )
    return Path(named)


def append(markdown: str) -> None:
    """Add to the summary, below what earlier commands of the step left there.

    Raises HostError where it cannot.
    """
    file = summary()
    try:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{markdown.rstrip()}\n\n")
    except OSError as error:
        raise HostError(
            f"{file}: the job's summary cannot be written ({error.strerror})"
        ) from error


def error(title: str, sentence: str) -> str:
    """Return a line that makes an annotation of a sentence, wherever the command prints it."""
    return f"::error title={_data(title)}::{_data(sentence)}"


def _data(text: str) -> str:
    """Text that stays within its command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
