"""Parameters that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from yogurtbench.cli import completion

Matrix = Annotated[
    Path,
    typer.Argument(
        help="A matrix: YAML (1.2) or JSON.",
        show_default=False,
        readable=False,
        autocompletion=completion.complete_matrices,
    ),
]
RunFolder = Annotated[
    Path,
    typer.Argument(
        help="A run's folder: results/<name>/<time>-<hex>.",
        show_default=False,
        readable=False,
        autocompletion=completion.complete_runs,
    ),
]
Lab = Annotated[
    Optional[str],
    typer.Option(
        help="auto, native or vm, instead of what the matrix says.",
        autocompletion=completion.complete_words("lab"),
    ),
]
Clock = Annotated[
    Optional[str],
    typer.Option(
        help="auto, wall or instructions, instead of what the matrix says.",
        autocompletion=completion.complete_words("clock"),
    ),
]
Only = Annotated[
    Optional[str],
    typer.Option(
        help="Only cells like this: 'hook=netkit_peer,payload=64'.",
        autocompletion=completion.complete_selectors,
    ),
]
Cell = Annotated[
    str,
    typer.Option(
        help="A cell's id, the beginning of it, or 'hook=…,helper=…'.",
        autocompletion=completion.complete_cells,
    ),
]
Blocks = Annotated[Optional[int], typer.Option(min=1, help="Run exactly so many blocks.")]
Jobs = Annotated[
    str,
    typer.Option(
        help="Trials side by side, on the instruction clock; auto: as many as CPUs and memory "
        "allow.",
        metavar="N|auto",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")]
Github = Annotated[
    bool,
    typer.Option(
        "--github", help="Also add the report, as Markdown, to the job's summary on GitHub."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
