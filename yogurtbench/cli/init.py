"""A matrix to start from: for each question a commented file, written where there is none."""

from __future__ import annotations

import os
import re
from pathlib import Path

from yogurtbench.core import files
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.wording import suggest_nearest
from yogurtbench.matrix.schema import FILE, FOLDER_NAME

#: What a matrix can ask, by the word for it: the templates are questions/<word>.yaml, and .c where
#: it needs a program.
QUESTIONS = {
    "which-wire": "Which eBPF wire joins two network namespaces best?",
    "payload": "From which payload on are the wires equal?",
    "regression": "Did a wire become more expensive? For a gate before a merge.",
    "own-wire": "What does a custom wire cost? Writes its C file too.",
}
_TEMPLATES = Path(__file__).with_name("templates")


def write(question: str, file: Path | None = None) -> list[Path]:
    """Write the matrix for a question (default: ``which_wire.yaml`` and the like) and its files.

    Returns the files, the matrix first. Raises MatrixError, and writes nothing, where the question
    is unknown, the name cannot name a folder of results, or one of the files is there already.
    """
    if question not in QUESTIONS:
        raise MatrixError(
            f"--question {question or repr('')}{suggest_nearest(question, QUESTIONS)}"
        )
    stem = question.replace("-", "_")
    matrix = file or Path(f"{stem}.yaml")
    if not re.fullmatch(FOLDER_NAME, matrix.stem):
        raise MatrixError(
            f"{matrix}: its name names the results, so it takes letters, digits, '.', '_' and '-'"
        )
    texts = {
        matrix.with_suffix(template.suffix) if template.suffix == ".c" else matrix: _filled(
            template, matrix
        )
        for template in sorted(_TEMPLATES.glob(f"{stem}.*"), reverse=True)
    }
    if there := [path for path in texts if os.path.lexists(path)]:
        raise MatrixError(
            f"{there[0]}: is there already, and nothing is overwritten; name another: init "
            "FILE.yaml"
        )
    for path, text in texts.items():
        _write(path, text)
    return list(texts)


def _filled(template: Path, matrix: Path) -> str:
    text = template.read_text(encoding="utf-8")
    for mark, value in (("@name@", matrix.stem), ("@file@", str(matrix)), ("@schema@", str(FILE))):
        text = text.replace(mark, value)
    return text


def _write(path: Path, text: str) -> None:
    with files.explaining_errors(path), path.open("x", encoding="utf-8") as file:
        file.write(text)
