"""Is a real slowdown of a tenth found? Native runs of two equal wires, one of them made to wait
(nox -s power).

Prints a line a run and a line at the end; exits 1 where fewer than nine in ten runs found it, or
the canary, the same wire under another name, was called different more than once in twenty. A run
takes about four minutes. Both ends stand on the last CPU, so that what else this machine does has
the others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from yogurtbench.analysis import comparison
from yogurtbench.results import run_folder

#: Waits in each direction; the loop ends by itself for the verifier's sake.
WIRE = """#include "yogurt.h"
int wire(struct __sk_buff *skb)
{
	u64 begin = bpf_ktime_get_ns();

	for (int i = 0; i < 100; i++)
		if (bpf_ktime_get_ns() - begin > WAIT)
			break;
	return bpf_redirect(YB_TARGET, 0);
}
"""
MATRIX = """
name: power
lab: native
axes: {device: veth, hook: tcx_ingress, helper: redirect, cpus: [[CPU, CPU]], program: ./slow.c}
baseline: {device: veth, hook: tcx_ingress, helper: redirect, program: builtin}
loads: [{kind: sockperf, duration: 4s}]
blocks: {min: 11, max: 11}
"""
DIFFERENT = ("slower", "faster")


def verdicts(folder: Path) -> pd.DataFrame:
    """One real run -> its comparisons by (role, metric)."""
    command = [sys.executable, "-P", "-m", "yogurtbench", "run", "power.yaml", "--quiet"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    newest = max(folder.glob("results/power/*"))
    return comparison.compare(run_folder.load(newest)[1], run_folder.read_plan(newest)).set_index(
        ["role", "metric"]
    )


def found(folder: Path, number: int) -> tuple[bool, bool]:
    """Whether a run called the slow wire slower, and the canary different, in the median or the
    fastest round trip.
    """
    seen = verdicts(folder)
    slow, same = (
        [seen.loc[(role, metric)] for metric in ("rtt_p50", "rtt_min")]
        for role in ("cell", "canary")
    )
    told = [f"{100 * (row['ratio'] - 1):+.1f} % {row['verdict']}" for row in (*slow, *same)]
    print(
        f"{number:3}: median {told[0]}, fastest {told[1]}; canary {told[2]}, {told[3]}", flush=True
    )
    return any(one["verdict"] == "slower" for one in slow), any(
        one["verdict"] in DIFFERENT for one in same
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=20)
    options.add_argument(
        "--wait", type=int, default=750, help="ns a packet waits: a tenth of half a round trip"
    )
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slow.c").write_text(WIRE.replace("WAIT", str(asked.wait)))
        (folder / "power.yaml").write_text(MATRIX.replace("CPU", str(max(os.sched_getaffinity(0)))))
        runs = [found(folder, number) for number in range(1, asked.runs + 1)]
    hits, alarms = (sum(column) for column in zip(*runs, strict=True))
    print(f"slower in {hits} of {len(runs)} runs; the canary different in {alarms}")
    sys.exit(hits < 0.9 * len(runs) or alarms > 0.05 * len(runs))


if __name__ == "__main__":
    main()
