"""A text at which LLVM ends its process costs a trial and not the agent.

The compiler's words are shown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from yogurtbench.core.builds import UserProgram
from yogurtbench.core.errors import HostError
from yogurtbench.ebpf import child_compiler
from yogurtbench.ebpf.child_compiler import try_compiling
from yogurtbench.ebpf.programs import Programs, compiler_error

HEAD = "int wire(struct __sk_buff *skb)\n{\n"
FILL = "\tfor (int i = 0; i < 4096; i++)\n\t\tbig[i] = i;\n"
#: Each ends the process it is compiled in: exit(3) by LLVM's error handler, abort(3), a trap.
DEADLY = {
    "asm": (
        f'{HEAD}\tasm volatile("no such thing" :::);\n\treturn 0;\n}}\n',
        "<inline asm>:1:2: invalid",
    ),
    "stack": (
        f"{HEAD}\tvolatile char big[4096];\n{FILL}\treturn big[skb->len & 4095];\n}}\n",
        "Looks like the BPF stack limit ",
    ),
    "dynamic": (
        f"{HEAD}\tchar a[skb->len];\n\ta[0] = 1;\n\treturn a[skb->len - 1];\n}}\n",
        "dynamic stack allocation",
    ),
    "crash": (
        f"#pragma clang __debug crash\n{HEAD}\treturn 0;\n}}\n",
        "the compiler ended itself: SIG",
    ),
    "fatal": (f"#pragma clang __debug llvm_fatal_error\n{HEAD}\treturn 0;\n}}\n", "LLVM ERROR"),
}
#: Deadly for the second way alone.
DEADLY["way"] = (
    f'{HEAD}#if YB_WAY\n\tasm volatile("no such thing" :::);\n#endif\n\treturn 0;\n}}\n',
    "<inline asm>:1:2: invalid",
)
WRONG = {
    "plain": (
        f"{HEAD}\treturn YB_TARGT;\n}}\n",
        "plain.c:3:9: error: use of undeclared identifier 'YB_TARGT'",
    ),
    "header": (
        f'#include "mine.h"\n{HEAD}\treturn 0;\n}}\n',
        "header.c:1:10: fatal error: 'mine.h' file not found",
    ),
    "foreign": (
        f'#include "/etc/passwd"\n{HEAD}\treturn 0;\n}}\n',
        "it includes /etc/passwd; a wire includes yogurt.h and the kernel's headers",
    ),
    "computed": (
        f"#define FILE </etc/hostname>\n#include FILE\n{HEAD}\treturn 0;\n}}\n",
        "it includes /etc/hostname; ",
    ),
    "proc": (
        f'#include "/proc/self/environ"\n{HEAD}\treturn 0;\n}}\n',
        "it includes /proc/self/environ; ",
    ),
    "red": (f"#error \x1b[31mred\n{HEAD}\treturn 0;\n}}\n", "red.c:1:2: error: "),
}
MATRIX = """
name: deadly
lab: native
axes: {{device: veth, hook: tcx_ingress, helper: redirect, program: [builtin, {programs}]}}
loads: [{{kind: ping, count: 3, interval: 10ms}}, reachability]
blocks: {{min: 1, max: 1}}
"""


@pytest.mark.root
def test_the_agent_survives_what_ends_the_compiler(tmp_path: Path) -> None:
    texts = DEADLY | WRONG
    for name, (text, _) in texts.items():
        (tmp_path / f"{name}.c").write_text(text)
    (tmp_path / "m.yaml").write_text(
        MATRIX.format(programs=", ".join(f"./{name}.c" for name in texts))
    )
    argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "m.yaml", "--quiet"]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 3, done.stderr
    (trials,) = tmp_path.glob("results/*/*/trials.jsonl")
    attempts = [json.loads(line) for line in trials.read_text().splitlines()]
    found: dict[str, list[dict[str, Any]]] = {}
    for attempt in attempts:
        found.setdefault(attempt["trial"]["cell"]["program"], []).append(attempt)
    assert {attempt["status"] for attempt in found.pop("builtin")} == {"ok"}
    for name, (_, said) in texts.items():
        for attempt in found[f"./{name}.c"]:
            assert attempt["status"] == "failed", attempt
            assert attempt["error"].startswith(f"bcc could not compile {name}.c: ")
            assert said in attempt["error"] and "\x1b" not in attempt["error"]


@pytest.mark.root
def test_a_text_without_ways_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What compiled for one way does for the other; recording what it sees is another text."""
    tried: list[str] = []
    monkeypatch.setattr(
        "yogurtbench.ebpf.programs.try_compiling", lambda *arguments: tried.append(arguments[1])
    )
    for name, body in (("plain.c", "\treturn 0;\n"), ("ways.c", "\treturn YB_WAY;\n")):
        programs = Programs()
        own = UserProgram(name, f"{HEAD}{body}}}\n")
        for traced in (False, True):
            for way in ("return", "forward"):
                programs.theirs(own, way, traced=traced)
    assert tried == ["plain.c"] * 2 + ["ways.c"] * 4


def says(words: str) -> Callable[[], None]:
    return lambda: os.write(2, words.encode()) and None  # type: ignore[func-returns-value]


def dies(how: Callable[[], Any], words: str = "") -> str:
    def compile_it() -> None:
        os.write(2, words.encode())
        how()

    with pytest.raises(HostError) as refused:
        try_compiling(compile_it, "mine.c", compiler_error)
    return str(refused.value)


def test_what_goes_well_says_nothing() -> None:
    try_compiling(lambda: None, "mine.c", compiler_error)
    try_compiling(says("warning: \x1b[31m"), "mine.c", compiler_error)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "(the compiler ended itself: SIGSEGV)"),
        (os.abort, "(the compiler ended itself: SIGABRT)"),
        (lambda: os._exit(1), "(the compiler ended itself with exit code 1)"),
    ],
    ids=["signal", "abort", "exit"],
)
def test_how_it_ended_is_reported_with_its_last_words(how: Callable[[], Any], said: str) -> None:
    assert dies(how) == f"bcc could not compile mine.c: it said nothing {said}"
    told = dies(how, "\x1b[1mone\n\ntwo\nthree\nLLVM ERROR: \x07no\n")
    assert told == f"bcc could not compile mine.c: two | three | LLVM ERROR: \\x07no {said}"
    assert dies(how, "x.c:1:2: error: wrong\n\tcode\n").startswith(
        "bcc could not compile mine.c: x.c:1:2: error: wrong | code"
    )


def test_an_ordinary_complaint_is_reported_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    def compile_it() -> None:
        os.write(2, b"mine.c:3:1: error: no\n  line 3\n")
        raise Exception("Failed to compile BPF module")

    with pytest.raises(HostError) as refused:
        try_compiling(compile_it, "mine.c", compiler_error)
    assert str(refused.value) == "bcc could not compile mine.c: mine.c:3:1: error: no | line 3"
    assert capfd.readouterr().err == ""


def test_a_compiler_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_compiler, "SECONDS", 0.2)
    began = time.monotonic()
    assert "did not end within 0.2 s" in dies(lambda: time.sleep(60))
    assert time.monotonic() - began < 5


def test_much_that_is_said_stops_nobody() -> None:
    told = dies(os.abort, "line of words\n" * 100_000)
    assert told.count("line of words") == 3


def test_more_than_is_looked_at_is_refused() -> None:
    """The file that it must not include could be named behind."""
    with pytest.raises(HostError, match=r"it said 17 MiB of words"):
        try_compiling(says("line of words\n" * 1_275_000), "mine.c", compiler_error)


def test_nothing_is_left_of_it() -> None:
    us = psutil.Process()
    before = us.num_fds(), {child.pid for child in us.children()}
    dies(os.abort)
    try_compiling(lambda: None, "mine.c", compiler_error)
    assert (us.num_fds(), {child.pid for child in us.children()}) == before
