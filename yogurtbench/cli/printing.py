"""Print a result, a decision or a history: as tables and sentences, or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from yogurtbench.core import output

if TYPE_CHECKING:
    from yogurtbench.analysis.findings import Decision
    from yogurtbench.analysis.history import History
    from yogurtbench.runner.profiling import Profiles


def print_json(document: object, indent: int = 1) -> None:
    """Print a document as JSON, on standard output alone."""
    import json

    output.echo_json(json.dumps(document, indent=indent, ensure_ascii=False))


def check_github(github: bool) -> None:
    """Complain before anything runs where there is no summary to add to."""
    if github:
        from yogurtbench.cli import github as hub

        hub.summary()


def print_profile(found: Profiles, folder: Path, *, as_json: bool) -> None:
    """Print the answer of a profile, and its table of functions."""
    from yogurtbench.profile.profile import as_json as document
    from yogurtbench.report.export.profile import PAGE
    from yogurtbench.report.sections.profile import answer
    from yogurtbench.report.terminal import profile as terminal

    if as_json:
        print_json(document(found.cell, found.against))
        return
    console = output.console()
    other = found.against
    for line in terminal.changes(found.cell, other) if other else terminal.costs(found.cell):
        console.print(line, overflow="fold")
    typer.echo(answer(found.cell, other))
    typer.echo(f"profile: {folder / PAGE}")


def print_result(folder: Path, as_json: bool, *, github: bool) -> None:
    """Print a run's comparisons, failures and answer; ``github``: into the job's summary too."""
    from yogurtbench.report import summary
    from yogurtbench.report.export import wire_catalogue
    from yogurtbench.report.run_data import RunData
    from yogurtbench.report.sections.summary import summarise
    from yogurtbench.report.terminal import run as terminal

    story = RunData.read(folder)
    if github:
        from yogurtbench.cli import github as hub

        hub.append(summary(folder))
    if as_json:
        output.echo_json(story.comparison.to_json(orient="records", indent=1, force_ascii=False))
        return
    console = output.console()
    lines = terminal.comparisons(story, console.width)
    if not lines:
        lines = terminal.measured(story, console.width)
        lines += terminal.reachability(wire_catalogue.tried(story.attempts), console.width)
    for line in lines:
        console.print(line, overflow="fold")
    for line in terminal.failures(story.attempts, console.width):
        console.print(line)
    typer.echo(summarise(story))
    if (folder / "report.html").exists():
        typer.echo(f"report: {folder / 'report.html'}")


def _annotate(decision: Decision, renew: str) -> None:
    """On GitHub: the decision in the job's summary, each regression as an annotation.

    Stdout stays the result's.
    """
    from yogurtbench.cli import github as hub
    from yogurtbench.report.sections import gate as reports

    hub.append(reports.markdown(decision, renew))
    for sentence in reports.regressions(decision):
        typer.echo(hub.error("Regression", sentence), err=True)


def print_decision(decision: Decision, as_json: bool, renew: str = "", *, github: bool) -> int:
    """Print what a check found and return its exit code; ``renew``: how to renew the baseline."""
    from yogurtbench.report.sections import gate as reports

    if github:
        _annotate(decision, renew)
    if as_json:
        output.echo_json(reports.as_json(decision, renew))
        return decision.exit_code
    console = output.console()
    if decision.findings:
        console.print(reports.table(decision, console.width))
    for sentence in reports.sentences(decision, renew):
        typer.echo(sentence)
    return decision.exit_code


def print_history(history: History, as_json: bool) -> int:
    """Print an experiment's history, write its page, and return the exit code."""
    from yogurtbench.core.errors import YogurtError
    from yogurtbench.report.pages import history as timeline

    if as_json:
        print_json(history.to_json())
    else:
        _print_tables(history)
    try:
        page = timeline.write(history)
    except YogurtError as error:  # the result is printed; the page is no part of it
        typer.echo(f"yogurtbench: {error}", err=True)
        return 0
    if not as_json:
        typer.echo(f"chart: {page}")
    return 0


def _print_tables(history: History) -> None:
    from yogurtbench.report.pages import history as timeline

    console = output.console()
    for table in timeline.tables(history, console.width):
        console.print(table)
    for sentence in filter(None, (timeline.answer(history), *timeline.sentences(history))):
        typer.echo(sentence)
