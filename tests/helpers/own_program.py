"""A custom wire, the same with one helper call more, and a matrix of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NOW = """#include "yogurt.h"
int wire(struct __sk_buff *skb)
{
	YB_COUNT(0, skb);
	return bpf_redirect(YB_TARGET, 0);
}
"""
#: One helper call more.
DEARER = NOW.replace(
    "\tYB_COUNT", "\tif (bpf_get_prandom_u32() == 7)\n\t\treturn YB_DROP;\n\tYB_COUNT", 1
)

MATRIX = """
name: mine
lab: auto
axes: {device: netkit, hook: netkit_peer, helper: redirect, program: [builtin, ./mine.c], payload: [64, 1400]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [{kind: sockperf, duration: 1s}]
margins: {rtt_p50: 0.1%}
"""


def yogurtbench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "yogurtbench", *arguments]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=800, check=False)
