"""The command line: parse, call, print, exit code. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from yogurtbench.gate import Decision
    from yogurtbench.plan import Plan

app = typer.Typer(
    name="yogurtbench",
    help="Sweeps eBPF wires between two network namespaces and says which works, how fast it is and what it costs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Start with: yogurtbench run experiments/quickstart.yaml",
)

Matrix = Annotated[Path, typer.Argument(help="A matrix: YAML (1.2) or JSON.", show_default=False, readable=False)]
RunFolder = Annotated[
    Path, typer.Argument(help="A run's folder: results/<name>/<time>-<hex>.", show_default=False, readable=False)
]
Lab = Annotated[Optional[str], typer.Option(help="auto, native or vm, instead of what the matrix says.")]
Clock = Annotated[Optional[str], typer.Option(help="wall or instructions, instead of what the matrix says.")]
Only = Annotated[Optional[str], typer.Option(help="Only cells like this: 'hook=netkit_peer,payload=64'.")]
Blocks = Annotated[Optional[int], typer.Option(min=1, help="Run exactly so many blocks.")]
Jobs = Annotated[int, typer.Option(min=1, help="Trials side by side, on the instruction clock.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def run(
    matrix: Matrix,
    lab: Lab = None,
    clock: Clock = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    resume: Annotated[Optional[Path], typer.Option(help="Go on with a run that was broken off.")] = None,
    only: Only = None,
    blocks: Blocks = None,
    budget: Annotated[Optional[str], typer.Option(help="Start no trial after this long: 10m, 90s.")] = None,
    jobs: Jobs = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")] = False,
    as_json: Json = False,
) -> int:
    """Run a matrix and report it.

    Examples: yogurtbench run experiments/quickstart.yaml · yogurtbench run my.yaml --lab vm --blocks 3
    """
    from yogurtbench import session

    plan = _plan(matrix, lab, clock, only, blocks)
    wishes = session.Wishes(out=out, resume=resume, budget=budget, quiet=quiet, jobs=jobs)
    ended = session.run(plan, wishes)
    _print_result(ended.folder, as_json)
    return ended.exit_code


@app.command()
def plan(
    matrix: Matrix,
    lab: Lab = None,
    clock: Clock = None,
    only: Only = None,
    blocks: Blocks = None,
    as_json: Json = False,
) -> int:
    """Show what would run, how long it would take and what could not be decided. Runs nothing."""
    from yogurtbench.plan import describe

    made = _plan(matrix, lab, clock, only, blocks)
    if as_json:
        import json

        typer.echo(json.dumps(made.to_json(), indent=1, ensure_ascii=False))
    else:
        typer.echo(describe(made, *(("native", "vm") if made.lab == "auto" else (made.lab,))))
    return 0


@app.command()
def report(
    run_folder: RunFolder,
    which_wire: Annotated[
        Optional[Path], typer.Option("--which-wire", help="Also write the truth table as a page of Markdown.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make a run's report again from its stored files: no root, no bcc, no network.

    Example: yogurtbench report results/which_wire/20261123T201602Z-99e031 --which-wire docs/which-wire.md
    """
    from yogurtbench import report as reports

    reports.make(run_folder)
    if which_wire:
        from yogurtbench.report import which_wire as pages

        pages.write(run_folder, which_wire)
    _print_result(run_folder, as_json)
    return 0


@app.command()
def baseline(
    run_folder: RunFolder,
    out: Annotated[Path, typer.Option(help="The file: results/baselines/NAME.json.", show_default=False)],
) -> int:
    """Keep a run as a baseline, in pyperf's file format, for check.

    Example: yogurtbench baseline results/regression/20261123T201602Z-99e031 --out results/baselines/regression.json
    """
    from yogurtbench import baseline as baselines

    side = baselines.write(run_folder, out)
    typer.echo(f"{out}: {len(side.entries)} cells of {side.name}")
    return 0


@app.command()
def check(
    target: Annotated[
        Path, typer.Argument(help="A run's folder, or a matrix to measure now.", show_default=False, readable=False)
    ],
    baseline: Annotated[Optional[Path], typer.Option(help="What baseline has written.", show_default=False)] = None,
    base_program: Annotated[
        Optional[Path], typer.Option(help="An older text of the matrix's own program.", show_default=False)
    ] = None,
    base_programs: Annotated[
        Optional[Path], typer.Option(help="A folder with older programs of bpf/.", show_default=False)
    ] = None,
    only: Only = None,
    out: Annotated[Path, typer.Option(help="Where run folders of what is measured now go.")] = Path("results"),
    jobs: Jobs = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")] = False,
    as_json: Json = False,
) -> int:
    """Hold a run against a stored baseline: exit 0 fine, 1 a regression, 3 a trial failed, 4 nobody can tell.

    With --base-program or --base-programs measure before and now in one guest, on the instruction clock, exactly.

    Examples: yogurtbench check results/quickstart/20261124T090000Z-0c1d2e --baseline results/baselines/quickstart.json
    · yogurtbench check my.yaml --base-program old_wire.c
    """
    from yogurtbench import baseline as baselines
    from yogurtbench import gate
    from yogurtbench.records import MatrixError

    if base_program or base_programs:
        plan = _target(target, only)
        return _check_sides(plan, base_program, base_programs, baseline, out, jobs, quiet=quiet, as_json=as_json)
    if baseline is None:
        raise MatrixError("check: hold it against what? --baseline FILE, --base-program FILE or --base-programs FOLDER")
    decision = gate.decide(baselines.read(baseline), gate.side_of(target))
    return _print_decision(decision, as_json, baselines.renewal(baseline, target))


@app.command()
def compare(
    old: RunFolder,
    new: RunFolder,
    out: Annotated[Optional[Path], typer.Option(help="Also write both side by side as a page: compare.html.")] = None,
    as_json: Json = False,
) -> int:
    """Show two runs side by side and decide as check does: exit 0, 1, 3 or 4.

    Example: yogurtbench compare results/quickstart/20261123T201602Z-99e031 results/quickstart/20261124T090000Z-0c1d2e
    --out compare.html
    """
    from yogurtbench import gate

    if out is None:
        return _print_decision(gate.decide(gate.side_of(old), gate.side_of(new)), as_json)
    from yogurtbench.report import compare as pages

    code = _print_decision(pages.write(old, new, out), as_json)
    typer.echo(f"report: {out}", err=as_json)
    return code


@app.command()
def lab(
    matrix: Matrix,
    command: Annotated[Optional[list[str]], typer.Argument(help="The command and its arguments, after --.")] = None,
    cell: Annotated[str, typer.Option(help="A cell's id, the beginning of it, or 'hook=…,helper=…'.")] = "",
    lab: Lab = None,
) -> int:
    """Bring one cell's network up, run a command in the lab's host namespace, take the network down.

    Example: yogurtbench lab --cell hook=netkit_peer,load=ping my.yaml -- ip netns exec yogurt-1 ping -c3 10.42.0.2
    """
    from yogurtbench import session

    return session.lab(_plan(matrix, lab, None, None, None), cell, command or [])


@app.command()
def doctor(
    clock: Annotated[
        bool, typer.Option("--clock", help="Boot twice: does the instruction clock repeat to the last digit?")
    ] = False,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> int:
    """Say what this machine can do, what is missing, and the exact command that mends it.

    With --clock try the instruction clock in two boots instead, some minutes long: exit 0 equal, 3 not.
    """
    if clock:
        from yogurtbench import session

        answer = session.clock(jobs)
        typer.echo(answer.as_json() if as_json else answer.as_text())
        return 0 if answer.passed else 3
    from yogurtbench import doctor as doctors

    findings = doctors.examine()
    typer.echo(doctors.as_json(findings) if as_json else doctors.as_text(findings))
    return 0 if doctors.can_run(findings) else 3


@app.command()
def clean(
    cache: Annotated[bool, typer.Option("--cache", help="Also the guest images and headers.")] = False,
) -> int:
    """Remove what broken runs left half made; with --cache, the cached guest images too."""
    from yogurtbench import places

    for path in places.clean(everything=cache):
        typer.echo(f"removed {path}")
    return 0


@app.command()
def schema() -> int:
    """Print the JSON Schema (draft 7) of a matrix, for editors."""
    import json

    from yogurtbench.matrix import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Options that stand before every command."""
    if version:
        from yogurtbench import __version__

        typer.echo(f"yogurtbench {__version__}")
        raise typer.Exit


def _plan(matrix: Path, lab: str | None, clock: str | None, only: str | None, blocks: int | None) -> Plan:
    from yogurtbench import places
    from yogurtbench.matrix import load, make_plan
    from yogurtbench.records import MatrixError

    for option, value, words in (
        ("--lab", lab, ("auto", "native", "vm")),
        ("--clock", clock, ("wall", "instructions")),
    ):
        if value is not None and value not in words:
            raise MatrixError(f"{option} {value}: not one of {', '.join(words)}")
    return make_plan(load(places.matrix(matrix)), lab=lab, clock=clock, only=only, blocks=blocks)


def _target(target: Path, only: str | None) -> Plan:
    """The plan of a run's folder, or of a matrix."""
    from yogurtbench import store
    from yogurtbench.plan import Plan
    from yogurtbench.records import MatrixError

    if not target.is_dir():
        return _plan(target, None, "instructions", only, None)
    if only:
        raise MatrixError("check: --only chooses cells of a matrix; a run's folder is held against whole")
    store.check_folder(target)
    return Plan.from_json(store.read_plan(target))


def _check_sides(
    plan: Plan,
    base_program: Path | None,
    base_programs: Path | None,
    baseline: Path | None,
    out: Path,
    jobs: int,
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    """Measure both sides and print what the newer costs; a stored baseline is asked too, where it still can answer."""
    from yogurtbench import baseline as baselines
    from yogurtbench import session, sides
    from yogurtbench.records import MatrixError

    if base_program and base_programs:
        raise MatrixError("check: either --base-program or --base-programs, not both")
    stored = baselines.read(baseline) if baseline else None
    change = sides.of_own(plan, base_program) if base_program else sides.of_programs(plan, Path(base_programs or ""))
    found = session.sides(change, out, quiet=quiet, jobs=jobs)
    code = _print_decision(sides.decide(change, found), as_json)
    if stored and baseline:
        typer.echo(sides.against(stored, found.new, baselines.renewal(baseline, found.new)), err=as_json)
    return code


def _print_result(folder: Path, as_json: bool) -> None:
    from rich.console import Console

    from yogurtbench.report import terminal, which_wire
    from yogurtbench.report.answer import answer
    from yogurtbench.report.story import Story

    story = Story.read(folder)
    if as_json:
        typer.echo(story.comparison.to_json(orient="records", indent=1, force_ascii=False))
        return
    console = Console(file=sys.stdout, soft_wrap=False)
    compared = terminal.table(story.comparison, console.width)
    tried = which_wire.tried(story.attempts)
    console.print(compared if compared.row_count else terminal.truths(tried))
    typer.echo(answer(story))
    typer.echo(f"report: {folder / 'report.html'}")


def _print_decision(decision: Decision, as_json: bool, renew: str = "") -> int:
    from rich.console import Console

    from yogurtbench.report import decision as reports

    if as_json:
        typer.echo(reports.as_json(decision, renew))
        return decision.exit_code
    console = Console(file=sys.stdout, soft_wrap=False)
    if decision.findings:
        console.print(reports.table(decision, console.width))
    for sentence in reports.sentences(decision, renew):
        typer.echo(sentence)
    return decision.exit_code
