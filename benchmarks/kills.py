"""Does a killed run lose or invent anything? SIGKILL at random moments, then --resume (nox -s
kills).

Each round starts a run, kills the command one to three times at random moments, resuming in
between, and lets the last resume end. It then checks by itself, from trials.jsonl: no line that was
on disk at a kill is missing; every block is whole, and none holds attempts of two sessions; the
exit code is 0; the verdicts are those of a run that nobody disturbed; nothing is left behind.
Prints a line a round; exits 1 where one failed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine_state import adopt_orphans, differences, machine_state, private_temporary_folder

NATIVE = """
name: kills
lab: native
clock: wall
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads:
  - {kind: reachability}
  - {kind: ping, count: 20, interval: 2ms}
blocks: {min: 6, max: 6}
seed: 1
"""
GUEST = """
name: kills
lab: vm
clock: instructions
axes: {device: netkit, hook: [tcx_ingress, netkit_peer], helper: redirect}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads:
  - {kind: reachability}
  - {kind: sockperf, duration: 1s}
blocks: {min: 2, max: 2}
seed: 1
"""
#: Metrics whose verdicts noise does not decide on the wall clock.
_CERTAIN = ("reachable", "reachable_v6", "reachable_tcp", "loss")


@dataclass(slots=True)
class Round:
    """One run that was killed: its folder, and how many lines stood there at each kill."""

    folder: Path
    kept: list[list[dict[str, Any]]] = field(default_factory=list)
    code: int = 0
    said: str = ""

    @property
    def run(self) -> Path | None:
        """The run's folder, once it is there."""
        return next(iter(sorted(self.folder.glob("results/kills/2*"))), None)

    def lines(self) -> list[dict[str, Any]]:
        """Return the whole lines of trials.jsonl."""
        log = self.run / "trials.jsonl" if self.run else None
        if log is None or not log.exists():
            return []
        text = log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def start(round_: Round) -> subprocess.Popen[bytes]:
    """Start the run, or go on with it where its folder is there."""
    argv = [sys.executable, "-P", "-m", "yogurtbench", "run"]
    argv += ["kills.yaml", *(["--resume", str(round_.run)] if round_.run else [])]
    with (round_.folder / "said").open("wb") as said:
        return subprocess.Popen([*argv, "--quiet"], cwd=round_.folder, stdout=said, stderr=said)


def kill_and_resume(matrix: str, folder: Path, seconds: float, moments: random.Random) -> Round:
    """Run a matrix, killed one to three times within ``seconds`` each, to its end."""
    done = Round(folder)
    (folder / "kills.yaml").write_text(matrix)
    for _ in range(moments.randint(1, 3)):
        command = start(done)
        time.sleep(moments.uniform(0.1, seconds))
        if command.poll() is not None:
            break
        command.send_signal(signal.SIGKILL)
        command.wait()
        done.kept.append(done.lines())
    if done.kept or command.returncode:
        command = start(done)
    done.code = command.wait()
    done.said = (folder / "said").read_text()
    return done


def faults(done: Round, usual: dict[str, Any], *, exact: bool) -> Iterator[str]:
    """Yield what is wrong with a run that was killed and resumed."""
    if done.code:
        yield f"exit code {done.code}: {done.said.strip()[-300:]}"
        return
    lines = done.lines()
    for kept in done.kept:
        mine = {_key(line) for line in lines}
        if lost := [_key(line) for line in kept if _key(line) not in mine]:
            yield f"lost: {lost}"
    live = [line for line in lines if not line.get("superseded")]
    doubles = [key for key, count in Counter(_trial(line) for line in live).items() if count > 1]
    if doubles:
        yield f"twice: {doubles}"
    yield from _broken_blocks(live, done, usual)
    if (mine := verdicts(done, exact=exact)) != usual["verdicts"]:
        different = {key: (mine.get(key), usual["verdicts"].get(key)) for key in mine}
        yield f"verdicts: { {k: v for k, v in different.items() if v[0] != v[1]} }"


def _broken_blocks(live: list[dict[str, Any]], done: Round, usual: dict[str, Any]) -> Iterator[str]:
    counts = Counter(line["trial"]["block"] for line in live)
    if counts != usual["blocks"]:
        yield f"blocks: {dict(counts)}, not {dict(usual['blocks'])}"
    borders = [max((line["line"] for line in kept), default=0) for kept in done.kept]
    sessions: dict[str, set[int]] = {}
    for line in live:
        session = sum(line["line"] > border for border in borders)
        if line["trial"]["block"] >= 0:
            sessions.setdefault(_block(line), set()).add(session)
    if patched := [block for block, found in sessions.items() if len(found) > 1]:
        yield f"blocks of two sessions: {patched}"


def _block(line: dict[str, Any]) -> str:
    """Return the block's name: each group of cells, and so each load, has its own blocks."""
    return str(line["trial"]["id"].partition("-p")[0])


def _key(line: dict[str, Any]) -> str:
    """Return what makes an attempt itself; its number and check sum say where it stands."""
    same = {k: v for k, v in line.items() if k not in ("check", "superseded")}
    return json.dumps(same, sort_keys=True)


def _trial(line: dict[str, Any]) -> str:
    trial = line["trial"]
    return json.dumps([trial["cell"], trial["role"], trial["block"]], sort_keys=True)


def verdicts(done: Round, *, exact: bool) -> dict[str, Any]:
    """Return a run's verdicts by wire, role, load and metric; exact ones with their values."""
    assert done.run
    found = json.loads((done.run / "verdicts.json").read_text())["comparisons"]
    return {
        "/".join((one["cell"], one["role"], one["load"], one["metric"])): (
            [one["verdict"], one["cell_median"], one["baseline_median"], one["n"]]
            if exact
            else [one["verdict"] if one["metric"].startswith(_CERTAIN) else "", one["n"]]
        )
        for one in found
    }


def undisturbed(matrix: str, folder: Path, *, exact: bool) -> tuple[dict[str, Any], float]:
    """Return what a run that nobody kills comes to, and how many seconds it takes."""
    done = Round(folder)
    (folder / "kills.yaml").write_text(matrix)
    began = time.monotonic()
    if code := start(done).wait():
        sys.exit(f"the undisturbed run failed, with {code}: {(folder / 'said').read_text()}")
    seconds = time.monotonic() - began
    blocks = Counter(line["trial"]["block"] for line in done.lines())
    return {"verdicts": verdicts(done, exact=exact), "blocks": blocks}, seconds


def series(name: str, matrix: str, rounds: int, seed: int, *, exact: bool) -> tuple[int, int]:
    """Kill so many runs and print a line each; how many kills there were, and bad rounds."""
    moments, kills, bad = random.Random(f"{seed}/{name}"), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        usual, seconds = undisturbed(matrix, Path(folder), exact=exact)
    number = 0
    while kills < rounds:
        number += 1
        before = machine_state()
        with tempfile.TemporaryDirectory() as folder:
            done = kill_and_resume(matrix, Path(folder), seconds, moments)
            wrong = list(faults(done, usual, exact=exact))
        wrong += differences(before)
        kills, bad = kills + len(done.kept), bad + bool(wrong)
        stood = ", ".join(str(len(kept)) for kept in done.kept) or "none in time"
        print(
            f"{name} {number}: killed at lines {stood}: {'; '.join(wrong) or 'whole'}", flush=True
        )
    return kills, bad


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--native", type=int, default=100, help="kills of native runs")
    options.add_argument("--guest", type=int, default=10, help="kills of a guest's runs")
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    adopt_orphans()
    bad = 0
    with private_temporary_folder():
        for name, matrix, wanted in (
            ("native", NATIVE, asked.native),
            ("guest", GUEST, asked.guest),
        ):
            if wanted:
                kills, wrong = series(name, matrix, wanted, asked.seed, exact=name == "guest")
                print(f"{name}: {kills} kills, {wrong} rounds with a fault", flush=True)
                bad += wrong
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
