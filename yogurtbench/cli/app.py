"""The command line: parse, call, print, exit code.

What is heavy is imported by the command that needs it.
"""

from __future__ import annotations

import functools
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from yogurtbench.cli import completion
from yogurtbench.cli.parameters import (
    Blocks,
    Cell,
    Clock,
    Github,
    Jobs,
    Json,
    Lab,
    Matrix,
    Only,
    Quiet,
    RunFolder,
)
from yogurtbench.cli.printing import (
    check_github,
    print_decision,
    print_history,
    print_json,
    print_profile,
    print_result,
)
from yogurtbench.core import output
from yogurtbench.core.sayer import sayer_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yogurtbench.analysis.budget import BudgetEstimate
    from yogurtbench.matrix.clocks import Begun, Plans
    from yogurtbench.plan.plan import Plan

app = typer.Typer(
    name="yogurtbench",
    help="Sweeps eBPF wires between two network namespaces and says which works, how fast it "
    "is and what it costs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Start with: yogurtbench run experiments/quickstart.yaml",
)


@app.command()
def run(
    matrix: Matrix,
    lab: Lab = None,
    clock: Clock = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    resume: Annotated[
        Optional[Path],
        typer.Option(
            help="Go on with a run that was broken off.", autocompletion=completion.complete_runs
        ),
    ] = None,
    only: Only = None,
    blocks: Blocks = None,
    budget: Annotated[
        Optional[str], typer.Option(help="Start no trial after this long: 10m, 90s.")
    ] = None,
    jobs: Jobs = "auto",
    quiet: Quiet = False,
    github: Github = False,
    as_json: Json = False,
) -> int:
    """Run a matrix and report it.

    Examples: yogurtbench run experiments/quickstart.yaml · yogurtbench run my.yaml --lab vm
    --blocks 3
    """
    from yogurtbench.runner import session

    check_github(github)
    wishes = session.RunOptions(
        out=out, resume=resume, budget=budget, quiet=quiet, jobs=_jobs(jobs)
    )
    ended = session.run(
        _plans(matrix, lab, clock, only, blocks, session.how_it_began(resume)), wishes
    )
    print_result(ended.folder, as_json, github=github)
    return ended.exit_code


@app.command()
def plan(
    matrix: Matrix,
    lab: Lab = None,
    clock: Clock = None,
    only: Only = None,
    blocks: Blocks = None,
    budget: Annotated[
        Optional[str], typer.Option(help="Also say what precision so much time buys: 10m, 90s.")
    ] = None,
    jobs: Jobs = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder of earlier runs, used to estimate noise for --budget.")
    ] = Path("results"),
    as_json: Json = False,
) -> int:
    """Show what would run, how long it would take and what could not be decided. Runs nothing.

    Examples: yogurtbench plan experiments/which_wire.yaml --only hook=xdp_native
    · yogurtbench plan my.yaml --budget 10m --json
    """
    from yogurtbench.runner import outlook

    ahead = outlook.outlook_of(_plans(matrix, lab, clock, only, blocks), _jobs(jobs))
    bought = _estimate(ahead.plan, ahead.labs, budget, out) if budget else []
    if as_json:
        from dataclasses import asdict

        print_json({**ahead.as_json(), "budget": [asdict(one) for one in bought]})
    else:
        typer.echo(ahead.as_text(_lines_of(bought)))
    return 0


def _estimate(made: Plan, labs: Sequence[str], budget: str, out: Path) -> list[BudgetEstimate]:
    from yogurtbench.analysis import budget as budgets
    from yogurtbench.matrix.units import seconds

    time = seconds("--budget", budget)
    return [
        budgets.estimate_budget(made, lab, time, budgets.measured_deviations(made, out, lab))
        for lab in labs
    ]


def _lines_of(bought: Sequence[BudgetEstimate]) -> list[str]:
    if not bought:
        return []
    from yogurtbench.analysis import budget as budgets

    return list(chain.from_iterable(map(budgets.describe_budget, bought)))


@app.command()
def report(
    run_folder: RunFolder,
    which_wire: Annotated[
        Optional[Path],
        typer.Option("--which-wire", help="Also write the truth table as a page of Markdown."),
    ] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Report what is whole of a damaged run.")
    ] = False,
    github: Github = False,
    as_json: Json = False,
) -> int:
    """Make a run's report again from its stored files: no root, no bcc, no network.

    Example: yogurtbench report results/which_wire/20261123T201602Z-99e031 --which-wire
    docs/which-wire.md
    """
    from yogurtbench import report as reports
    from yogurtbench.core.errors import HostError
    from yogurtbench.report.run_data import RunData

    check_github(github)
    if which_wire:
        from yogurtbench.report.export import wire_catalogue as pages

        pages.check(which_wire)
    # What cannot be read is said before anything is written.
    story = RunData.salvage(run_folder) if salvage else RunData.read(run_folder)
    for line in story.lost:
        typer.echo(f"yogurtbench: left out, {line}", err=True)
    code = 0
    try:
        reports.make(run_folder)
        if which_wire:
            pages.write(run_folder, which_wire)
    except (
        HostError
    ) as error:  # a full disk, another user's folder: what the run says can be printed all the same
        typer.echo(f"yogurtbench: {error}", err=True)
        code = error.exit_code
    print_result(run_folder, as_json, github=github)
    return code


@app.command()
def baseline(
    run_folder: RunFolder,
    out: Annotated[
        Path, typer.Option(help="The file: results/baselines/NAME.json.", show_default=False)
    ],
    as_json: Json = False,
) -> int:
    """Keep a run as a baseline, in pyperf's file format, for check.

    Example: yogurtbench baseline results/regression/20261123T201602Z-99e031 --out
    results/baselines/regression.json
    """
    from yogurtbench.report.export import baseline as baselines

    side = baselines.write(run_folder, out)
    if as_json:
        print_json({"file": str(out), "run": side.name, "cells": len(side.entries)})
    else:
        typer.echo(f"{out}: {len(side.entries)} cells of {side.name}")
    return 0


@app.command()
def check(
    target: Annotated[
        Path,
        typer.Argument(
            help="A run's folder, or a matrix to measure now.",
            show_default=False,
            readable=False,
            autocompletion=completion.complete_runs_and_matrices,
        ),
    ],
    baseline: Annotated[
        Optional[Path],
        typer.Option(
            help="What baseline has written.",
            show_default=False,
            autocompletion=completion.complete_baselines,
        ),
    ] = None,
    base_program: Annotated[
        Optional[Path],
        typer.Option(help="An older version of the matrix's C program.", show_default=False),
    ] = None,
    base_programs: Annotated[
        Optional[Path],
        typer.Option(help="A folder with older programs of bpf/.", show_default=False),
    ] = None,
    only: Only = None,
    out: Annotated[Path, typer.Option(help="Folder for the new runs.")] = Path("results"),
    jobs: Jobs = "auto",
    quiet: Quiet = False,
    github: Github = False,
    as_json: Json = False,
) -> int:
    """Compare a run with a stored baseline.

    Exit code: 0 no regression, 1 regression, 3 a trial failed, 4 inconclusive.

    With --base-program or --base-programs measure before and now in one guest, on the instruction
    clock, exactly.

    Examples: yogurtbench check results/quickstart/20261124T090000Z-0c1d2e --baseline
    results/baselines/quickstart.json · yogurtbench check my.yaml --base-program old_wire.c
    """
    from yogurtbench.analysis import gate, measured_run
    from yogurtbench.core.errors import MatrixError
    from yogurtbench.report.export import baseline as baselines

    check_github(github)
    if base_program or base_programs:
        plan = _target_of(target, only)
        how = {"quiet": quiet, "as_json": as_json, "github": github}
        return _check_sides(plan, base_program, base_programs, baseline, out, _jobs(jobs), **how)
    if baseline is None:
        raise MatrixError(
            "check: nothing to compare with: give --baseline FILE, --base-program FILE or "
            "--base-programs FOLDER"
        )
    decision = gate.decide(baselines.read(baseline), measured_run.read_run(target))
    return print_decision(decision, as_json, baselines.renewal(baseline, target), github=github)


@app.command()
def compare(
    old: RunFolder,
    new: RunFolder,
    out: Annotated[
        Optional[Path], typer.Option(help="Also write both side by side as a page: compare.html.")
    ] = None,
    github: Github = False,
    as_json: Json = False,
) -> int:
    """Show two runs side by side and decide as check does: exit 0, 1, 3 or 4.

    Example: yogurtbench compare results/quickstart/20261123T201602Z-99e031
    results/quickstart/20261124T090000Z-0c1d2e --out compare.html
    """
    from yogurtbench.analysis import gate, measured_run

    check_github(github)
    if out is None:
        return print_decision(
            gate.decide(measured_run.read_run(old), measured_run.read_run(new)),
            as_json,
            github=github,
        )
    from yogurtbench.core.errors import HostError
    from yogurtbench.report.pages import compare as pages
    from yogurtbench.report.run_pair import RunPair

    pages.check(out)
    pair = RunPair.read(old, new)
    code = print_decision(pair.decision, as_json, github=github)
    try:
        pages.put(pair, out)
    except HostError as error:  # the decision stands, and is printed
        typer.echo(f"yogurtbench: {error}", err=True)
        return code or error.exit_code
    typer.echo(f"report: {out}", err=as_json)
    return code


@app.command()
def history(
    experiment: Annotated[
        Path,
        typer.Argument(
            help="An experiment's name, or its folder.",
            show_default=False,
            readable=False,
            autocompletion=completion.complete_experiments,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where run folders are.")] = Path("results"),
    as_json: Json = False,
) -> int:
    """Show an experiment's stored runs over time: each cell against its baseline, and where that
    changed.

    Writes history.html beside the runs. Changes are looked for from 30 runs on; on the instruction
    clock at once.

    Examples: yogurtbench history quickstart · yogurtbench history nightly/quickstart --json
    """
    from yogurtbench.analysis import history as histories

    return print_history(histories.read(histories.find_runs(experiment, out)), as_json)


@app.command()
def lab(
    matrix: Matrix,
    command: Annotated[
        Optional[list[str]], typer.Argument(help="The command and its arguments, after --.")
    ] = None,
    cell: Cell = "",
    pcap: Annotated[
        Optional[Path],
        typer.Option(help="Record one probe's frames on every device: pcapng.", show_default=False),
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Record one probe's every hook, queue and drop.")
    ] = False,
    lab: Lab = None,
    as_json: Json = False,
) -> int:
    """Bring one cell's network up, open a shell in it, run a command or record a probe.

    Without a command it shows what stands in the lab, and opens a shell in its host namespace;
    --json shows alone. --trace and --pcap send one echo over IPv4 and one over IPv6 and tell what
    became of them.

    Examples: yogurtbench lab --cell hook=netkit_peer my.yaml · yogurtbench lab --cell 3fa9 my.yaml
    --trace --pcap dead.pcapng · yogurtbench lab --cell hook=netkit_peer,load=ping my.yaml -- ip
    netns exec yogurt-1 ping -c3 10.42.0.2
    """
    from yogurtbench.runner import lab_session, session

    wishes = lab_session.LabOptions(argv=command or [], pcap=pcap, trace=trace, as_json=as_json)
    return session.lab(_plans(matrix, lab, None, None, None).likely, cell, wishes)


@app.command()
def profile(
    matrix: Matrix,
    cell: Cell = "",
    against: Annotated[
        str,
        typer.Option(
            help="Another cell of the matrix, to show what differs; baseline: the cell's own.",
            autocompletion=completion.complete_cells,
        ),
    ] = "",
    page: Annotated[
        Optional[Path],
        typer.Option(help="Profile every wire of the matrix, as a page of Markdown."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where folders of results go.")] = Path("results"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Say which functions the instructions of a cell's round trip go to, exactly.

    In emulation, whatever the machine has: a trial on the instruction clock is recorded, block by
    block. Writes profile.html (a flame graph), profile.json and files for KCachegrind, flame graph
    tools and speedscope to results/<name>/profile-<cell>.

    Examples: yogurtbench profile experiments/cost.yaml --cell device=netkit,topology=direct ·
    yogurtbench profile my.yaml --cell hook=netkit_peer --against baseline
    """
    from yogurtbench.runner import profiling

    if page:
        return _write_profiles(matrix, page, cell or against, quiet=quiet)
    plan = _plans(matrix, "vm", "instructions", None, None).likely
    found = profiling.profile_cells(
        plan, cell, against, sayer_on(output.console(stderr=True), quiet=quiet)
    )
    folder = profiling.write(found, out / plan.name)
    print_profile(found, folder, as_json=as_json)
    return 0


@app.command()
def doctor(
    clock: Annotated[
        bool,
        typer.Option(
            "--clock", help="Boot twice: does the instruction clock repeat to the last digit?"
        ),
    ] = False,
    jobs: Jobs = "auto",
    as_json: Json = False,
) -> int:
    """Say what this machine can do, what is missing, and the command that fixes it.

    With --clock try the instruction clock in two boots instead, some minutes long: exit 0 equal, 3
    not.

    Examples: yogurtbench doctor · yogurtbench doctor --clock --jobs 2
    """
    if clock:
        from yogurtbench.runner import session

        answer = session.check_clock(_jobs(jobs))
        output.echo_json(answer.as_json()) if as_json else typer.echo(answer.as_text())
        return 0 if answer.passed else 3
    from yogurtbench.hosts import doctor as doctors

    findings = doctors.run_checks()
    output.echo_json(doctors.as_json(findings)) if as_json else typer.echo(
        doctors.as_text(findings)
    )
    return 0 if doctors.can_run(findings) else 3


@app.command()
def clean(
    cache: Annotated[
        bool, typer.Option("--cache", help="Also the guest images and headers.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask in a terminal.")] = False,
    as_json: Json = False,
) -> int:
    """Remove what broken runs left half made; with --cache, the cached guest images too.

    Shows it first, and asks where a person sits at the terminal.

    Examples: yogurtbench clean · yogurtbench clean --cache · yogurtbench clean --cache --dry-run
    """
    from yogurtbench.core import leftovers

    found = leftovers.find(everything=cache)
    for path in found:
        line = f"to be removed: {path} ({leftovers.size(path) / 2**20:.1f} MiB)"
        typer.echo(line, err=as_json or not dry_run)
    if dry_run:
        if as_json:
            print_json({"to_be_removed": [str(path) for path in found]})
        return 0
    asks = found and not yes and not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    if asks and not typer.confirm("Remove?", err=True):
        return 0
    removed = []
    for path in leftovers.remove(found, everything=cache):
        removed.append(str(path))
        typer.echo(f"removed {path}", err=as_json)
    if as_json:
        print_json({"removed": removed})
    return 0


@app.command()
def init(
    file: Annotated[
        Optional[Path],
        typer.Argument(help="The matrix to write.", show_default="the question's name .yaml"),
    ] = None,
    question: Annotated[
        str,
        typer.Option(
            help="which-wire, payload, regression or own-wire.",
            autocompletion=completion.complete_questions,
        ),
    ] = "which-wire",
    as_json: Json = False,
) -> int:
    """Write a commented matrix for a question, to run as it is or to change.

    Asks nothing, overwrites nothing.

    Examples: yogurtbench init · yogurtbench init --question own-wire my_wire.yaml
    """
    from yogurtbench.cli import init as starts

    files = starts.write(question, file)
    then = f"yogurtbench plan {files[0]}"
    if as_json:
        print_json({"question": question, "files": [str(path) for path in files], "next": then})
    else:
        typer.echo("\n".join(f"wrote {path}" for path in files) + f"\nnext: {then}")
    return 0


@app.command()
def schema(
    path: Annotated[
        bool, typer.Option("--path", help="Print where the file lies instead.")
    ] = False,
) -> int:
    """Print the JSON Schema (draft 7) of a matrix, for editors with the YAML language server.

    They read it where the matrix begins with the line: # yaml-language-server: $schema=FILE

    Examples: yogurtbench schema --path · yogurtbench schema > schema.json
    """
    from yogurtbench.matrix.schema import FILE, json_schema

    if path:
        typer.echo(FILE)
    else:
        print_json(json_schema(), indent=2)
    return 0


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options that stand before every command."""
    if version:
        from yogurtbench.core.version import __version__

        typer.echo(f"yogurtbench {__version__}")
        raise typer.Exit


def _plans(
    matrix: Path,
    lab: str | None,
    clock: str | None,
    only: str | None,
    blocks: int | None,
    begun: Begun | None = None,
) -> Plans:
    """Return the plans of a matrix by clock; ``begun``: how a run that is resumed was begun."""
    from yogurtbench.core import paths as places
    from yogurtbench.core.errors import MatrixError
    from yogurtbench.core.glossary import MEANINGS
    from yogurtbench.core.wording import close_to
    from yogurtbench.matrix import clocks
    from yogurtbench.matrix.planner import load

    for option, value in (("lab", lab), ("clock", clock)):
        words = MEANINGS[option]
        if value is not None and value not in words:
            raise MatrixError(
                f"--{option} {value or repr('')}: not one of "
                f"{', '.join(words)}{close_to(value, words)}"
            )
    return clocks.plans_by_clock(
        load(places.matrix(matrix)), lab=lab, clock=clock, only=only, blocks=blocks, begun=begun
    )


def _jobs(given: str) -> int | None:
    """Return how many trials side by side; None for as many as may be."""
    from yogurtbench.core.errors import MatrixError

    if given == "auto":
        return None
    if given.isascii() and given.isdigit() and int(given) >= 1:
        return int(given)
    raise MatrixError(
        f"--jobs {given or repr('')}: a number of trials side by side, 1 or more, or auto"
    )


def _write_profiles(matrix: Path, page: Path, cell: str, *, quiet: bool) -> int:
    """Write the profile of every wire of a matrix."""
    from yogurtbench.core.errors import MatrixError
    from yogurtbench.report.export import profile_catalogue as pages
    from yogurtbench.runner import profiling

    if cell:
        raise MatrixError("profile: --page is of every wire, so leave --cell and --against out")
    pages.check(page)
    plan = _plans(matrix, "vm", "instructions", None, None).likely
    wires = profiling.profile_wires(plan, sayer_on(output.console(stderr=True), quiet=quiet))
    pages.write(wires, f"yogurtbench profile {matrix} --page {page}", page)
    typer.echo(f"page: {page}")
    return 0


def _target_of(target: Path, only: str | None) -> Plan:
    """Return the plan of a run's folder, or of a matrix."""
    from yogurtbench.core.errors import MatrixError
    from yogurtbench.results import run_folder as store

    if not target.is_dir():
        return _plans(target, None, "instructions", only, None).likely
    if only:
        raise MatrixError(
            "check: --only works on a matrix; a stored run is always compared as a whole"
        )
    store.check_folder(target)
    return store.read_plan(target)


def _check_sides(
    plan: Plan,
    base_program: Path | None,
    base_programs: Path | None,
    baseline: Path | None,
    out: Path,
    jobs: int | None,
    *,
    quiet: bool,
    as_json: bool,
    github: bool,
) -> int:
    """Measure both sides and print what the newer costs.

    A stored baseline is asked too, where it still can answer.
    """
    from yogurtbench.core.errors import MatrixError
    from yogurtbench.report.export import baseline as baselines
    from yogurtbench.runner import ab, profiling, session

    if base_program and base_programs:
        raise MatrixError("check: either --base-program or --base-programs, not both")
    stored = baselines.read(baseline) if baseline else None
    change = (
        ab.change_of_user_program(plan, base_program)
        if base_program
        else ab.change_of_programs(plan, Path(base_programs or ""))
    )
    found = session.run_both_sides(change, out, quiet=quiet, jobs=jobs)
    decision = profiling.explain_regressions(
        change, ab.decide_change(change, found), sayer_on(output.console(stderr=True), quiet=quiet)
    )
    code = print_decision(decision, as_json, github=github)
    if stored and baseline:
        typer.echo(
            ab.compare_with_baseline(stored, found.new, baselines.renewal(baseline, found.new)),
            err=as_json,
        )
    return code


def _with_homes(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command whose every path may begin with ``~``, which shells leave alone in
    ``--out=~/x``.
    """

    @functools.wraps(command)
    def called(**given: Any) -> int:
        from yogurtbench.core import paths as places

        at_home = {
            name: places.expanded(value) for name, value in given.items() if isinstance(value, Path)
        }
        return command(**{**given, **at_home})

    return called


for _command in app.registered_commands:
    _command.callback = _with_homes(_command.callback) if _command.callback else None
