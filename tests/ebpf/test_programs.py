"""Custom wires: what a file defines, and how the compiler's and the verifier's complaints are
told.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from yogurtbench.core.builds import UserProgram
from yogurtbench.ebpf.programs import compiler_error, user_source, verifier_error

WIRE = """#include "yogurt.h"
static __always_inline int helper(struct __sk_buff *skb)
{
	return skb->len > 100;
}
struct pair {
	int a;
};
int primary(struct __sk_buff *skb)
{
	return YB_PASS;
}

int wire(struct __sk_buff *skb)
{
	if (helper(skb)) {
		YB_COUNT(0, skb);
		return YB_DROP;
	}
	YB_COUNT(1, skb);
	return bpf_redirect_peer(YB_TARGET, 0);
}
"""


def test_a_file_says_itself_which_roles_it_plays() -> None:
    assert UserProgram("w.c", WIRE).roles == ("wire", "primary")
    assert UserProgram("w.c", "int wire_count;\nint wire(void *ctx) { return 0; }\n").roles == (
        "wire",
    )


def test_the_users_text_keeps_its_own_lines() -> None:
    text = user_source(UserProgram("w.c", WIRE))
    assert '#line 1 "w.c"\n#include "yogurt.h"' in text
    assert "int yb_wire(struct __sk_buff *ctx)" in text
    assert "int yb_peer(" not in text
    assert "struct xdp_md *ctx" in user_source(
        UserProgram("w.c", "int wire(struct xdp_md *ctx) { return 2; }", xdp=True)
    )


def test_the_compilers_first_error_is_reported_with_the_line_it_quotes() -> None:
    said = (
        'w.c:9:3: warning: x\nw.c:9:27: error: use of undeclared identifier "X"\n\treturn '
        "X;\n\t       ^\n1 error\n"
    )
    assert compiler_error(said) == 'w.c:9:27: error: use of undeclared identifier "X" | return X;'


def test_the_verifiers_line_is_the_authors_line_though_bcc_shifts_it() -> None:
    log = ";  @ yogurt.h:59\n10: (79) r1 = ...\n;  @ w.c:24\n50: (61) r0 = *(u32 *)(r1 +0)\n"
    log += "R1 invalid mem access\nprocessed 49 insns\n"
    assert (
        verifier_error(log, UserProgram("w.c", WIRE))
        == "w.c:21: R1 invalid mem access: return bpf_redirect_peer(YB_TARGET, 0);"
    )
    assert verifier_error(log, None) == "R1 invalid mem access"
    assert verifier_error("", None) == "no reason was given"


MATRIX = """
name: own
lab: native
axes:
  device: veth
  hook: tcx_ingress
  helper: redirect_peer
  program: [builtin, ./mine.c, ./broken.c, ./refused.c]
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [reachability, {kind: ping, count: 5, interval: 10ms}]
blocks: {min: 1, max: 1}
"""
MINE = """#include "yogurt.h"
int wire(struct __sk_buff *skb)
{
	if (skb->protocol == __constant_htons(ETH_P_IPV6)) {
		YB_COUNT(0, skb);
		return YB_DROP;
	}
	YB_COUNT(1, skb);
	return bpf_redirect_peer(YB_TARGET, 0);
}
"""


@pytest.mark.root
def test_a_wire_of_ones_own_is_swept_and_a_bad_one_reported_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(MATRIX)
    (tmp_path / "mine.c").write_text(MINE)
    (tmp_path / "broken.c").write_text(MINE.replace("YB_TARGET", "YB_TARGT"))
    (tmp_path / "refused.c").write_text(
        MINE.replace("bpf_redirect_peer(YB_TARGET, 0)", "*(int *)(long)skb->len")
    )
    argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "own.yaml", "--quiet"]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 3, done.stderr
    (trials,) = tmp_path.glob("results/own/*/trials.jsonl")
    attempts = [json.loads(line) for line in trials.read_text().splitlines()]
    told = {(a["trial"]["cell"]["program"], a["trial"]["cell"]["load"]): a for a in attempts}
    alive = {o["metric"]: o["value"] for o in told["./mine.c", "reachability"]["observations"]}
    assert (alive["reachable"], alive["reachable_v6"]) == (1, 0)
    counted = told["./mine.c", "ping"]["details"]
    assert counted["counters"]["wire.forward"][0] == 5
    assert counted["tallies"]["forward"][1][0] == 5
    assert (
        "broken.c:9:27: error: use of undeclared identifier 'YB_TARGT'"
        in told["./broken.c", "ping"]["error"]
    )
    refused = told["./refused.c", "ping"]["error"]
    assert "refused.c:9: R1 invalid mem access 'scalar': return *(int *)(long)skb->len;" in refused


@pytest.mark.root
@pytest.mark.parametrize(("address", "code"), [("10.42.0.2", 0), ("fd42::2", 1)])
def test_a_lab_is_joined_by_the_wire_of_ones_own(tmp_path: Path, address: str, code: int) -> None:
    """It carries no IPv6, which the built-in one would."""
    (tmp_path / "own.yaml").write_text(MATRIX)
    for name in ("mine", "broken", "refused"):
        (tmp_path / f"{name}.c").write_text(MINE)
    ping = ["ip", "netns", "exec", "yogurt-1", "ping", "-c1", "-W1", address]
    argv = [
        sys.executable,
        "-P",
        "-m",
        "yogurtbench",
        "lab",
        "own.yaml",
        "--cell",
        "program=./mine.c,load=ping",
        "--",
    ]
    done = subprocess.run(
        [*argv, *ping], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stderr
