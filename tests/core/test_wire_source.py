"""What a C file of one's own defines, seen without a compiler.

And what is refused before anything runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import planned

from yogurtbench.core import wire_source
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.wire_source import check, context, defined, read

HOME = Path(__file__).parents[2]
WIRE = "int wire(struct __sk_buff *skb)\n{\n\treturn bpf_redirect(YB_TARGET, 0);\n}\n"

WIRES = {
    "plain": WIRE,
    "the brace in its line": "int wire(struct __sk_buff *skb) { return 0; }",
    "over lines": "int\nwire\n(\nstruct __sk_buff\n*skb\n)\n{ return 0; }",
    "static": f"static __always_inline {WIRE}",
    "attributes": f'__attribute__((section("x"), always_inline)) {WIRE}',
    "attributes behind": "int wire(struct __sk_buff *skb) __attribute__((hot)) { return 0; }",
    "a section": f'SEC("tc") {WIRE}',
    "a name by a macro": "#define NAME wire\nint NAME(struct __sk_buff *skb) { return 0; }",
    "a head by a macro": "#define WIRE int wire(struct __sk_buff *skb)\nWIRE\n{ return 0; }",
    "a head by a macro over lines": "#define WIRE \\\n int wire(struct __sk_buff *skb)\nWIRE "
    "{ return 0; }",
    "all by a macro": "#define ROLE(NAME, HOW) int NAME(struct __sk_buff *skb) { return HOW; "
    "}\nROLE(wire, f(1, 2))",
    "joined": "#define ROLE(A, B) int A##B(struct __sk_buff *skb) { return 0; }\nROLE(wi,\n re)",
    "empty joined": "#define ROLE(A) int wire##A(struct __sk_buff *skb) { return 0; }\nROLE()",
    "a guard": f"#ifndef MINE_C\n#define MINE_C\n{WIRE}#endif\n",
    "one of two": f"#if YB_WAY == YB_FORWARD\n{WIRE}#else\n{WIRE}#endif\n",
    "a condition of the kernel's": f"#ifdef CONFIG_NET\n{WIRE}#endif\n",
    "the other of #if 0": f"#if 0\nint x;\n#else\n{WIRE}#endif\n",
    "a comment in it": "int /* not (yet) */ wire(struct __sk_buff *skb /* here { */) // {\n{ "
    "return 0; }",
    "a text before it": f'static const char said[] = "/* int wire( {{";\n{WIRE}',
    "a quote before it": f"static const char brace = '{{';\n{WIRE}",
    "declared, then defined": f"int wire(struct __sk_buff *skb);\n{WIRE}",
    "a typedef": "typedef struct __sk_buff packet;\nint wire(packet *skb) { return 0; }",
    "behind others": "struct pair { int a; };\nstatic int f(int a) { return a; }\nint table[] "
    "= {1, 2};\n" + WIRE,
    "XDP": "int wire(struct xdp_md *ctx) { return 2; }",
    "line ends of Windows": WIRE.replace("\n", "\r\n"),
    "macros of several lines": f"#define F(a) do {{ \\\n  f(a); \\\n}} while (0)\n{WIRE}",
    "undefined again": f"#define wire other\n#undef wire\n{WIRE}",
    "too many macros": "".join(f"#define M{n} M{n + 1} M{n + 1}\n" for n in range(30))
    + f"M0\n{WIRE}",
}
NOT_WIRES = {
    "empty": ("", "is empty"),
    "blank": (" \n\t\n", "is empty"),
    "a variable": ("int wire;\n", "defines no function wire"),
    "an array": ("int wire[] = {1};\n", "defines no function wire"),
    "a declaration": ("int wire(struct __sk_buff *skb);\n", "defines no function wire"),
    "in a comment": (f"/* {WIRE} */\n", "defines no function wire"),
    "in a line's comment": (
        "// int wire(struct __sk_buff *skb) { return 0; }\n",
        "defines no function wire",
    ),
    "in a comment without end": (f"int x; /* {WIRE}", "defines no function wire"),
    "in a text": (
        'char *s = "int wire(struct __sk_buff *skb) { return 0; }";\n',
        "defines no function wire",
    ),
    "in #if 0": (f"#if 0\n{WIRE}#endif\n", "defines no function wire"),
    "in #if 0 of many": (
        f"#if 0\n#if 1\n{WIRE}#endif\n#elif 0\n{WIRE}#endif\n",
        "defines no function wire",
    ),
    "in an else that never is": (
        f"#if 1\nint x;\n#else\n{WIRE}#endif\n",
        "defines no function wire",
    ),
    "in a macro nobody uses": (
        "#define W int wire(struct __sk_buff *skb) { return 0; }\n",
        "defines no function wire",
    ),
    "only called": (
        "int run(struct __sk_buff *skb) { return wire(skb); }\n",
        "defines no function wire",
    ),
    "called in a condition": (
        "int run(void) { if (wire(1)) { return 2; } return 0; }\n",
        "defines no function wire",
    ),
    "another name": (WIRE.replace("wire", "wires"), "defines no function wire"),
    "a capital": (WIRE.replace("wire", "Wire"), "defines no function wire"),
    "another name by a macro": (f"#define wire cable\n{WIRE}", "defines no function wire"),
    "a structure": ("struct wire { int a; };\n", "defines no function wire"),
    "no arguments": ("int wire(void) { return 0; }", "wire with no arguments"),
    "no arguments, of old": ("int wire() { return 0; }", "wire with no arguments"),
    "two arguments": (
        "int wire(struct __sk_buff *skb, int way) { return 0; }",
        "wire with 2 arguments",
    ),
    "another structure": (
        "int wire(struct sk_buff *skb) { return 0; }",
        "wire for a struct sk_buff",
    ),
    "a number": ("int wire(int skb) { return 0; }", "wire for a number"),
    "anything": ("int wire(void *skb) { return 0; }", "wire for any pointer"),
    "nothing returned": ("void wire(struct __sk_buff *skb) { }", "wire that returns nothing"),
    "a wrong role beside": (f"{WIRE}int peer(void) {{ return 0; }}\n", "peer with no arguments"),
}


@pytest.mark.parametrize("text", WIRES.values(), ids=list(WIRES))
def test_a_wire_is_found_however_it_is_written(text: str) -> None:
    check(text)
    assert "wire" in defined(text) or "M0" in text


@pytest.mark.parametrize(("text", "said"), NOT_WIRES.values(), ids=list(NOT_WIRES))
def test_what_is_no_wire_is_refused_with_what_is_wanted(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        check(text)
    assert "(struct __sk_buff *skb) is wanted" in str(refused.value)


@pytest.mark.parametrize(
    "path", [*HOME.glob("experiments/*.c"), HOME / "yogurtbench/cli/templates/own_wire.c"], ids=str
)
def test_the_wires_that_are_shipped_are_wires(path: Path) -> None:
    check(read(path))
    assert context(read(path)) == "__sk_buff"


PIECES = [
    *"(){}[];,#\"'/* ab01!=",
    "\n",
    "\n#if 0\n",
    "\n#else\n",
    "\n#endif\n",
    "\n#define a(b) b##b a ",
    "wire(",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_no_text_is_too_odd(text: str) -> None:
    defined(text)


@given(st.lists(st.sampled_from(list(NOT_WIRES.values())[2:19]), max_size=4))
def test_what_is_no_wire_hides_no_wire(before: list[tuple[str, str]]) -> None:
    texts = [
        text
        for text, _ in before
        if "#define wire" not in text and not text.startswith("int x; /*")
    ]
    check("\n".join([*texts, WIRE]))


MATRIX = (
    "name: t\naxes: {device: veth, hook: HOOK, helper: redirect, program: [builtin, "
    "./mine.c]}\nloads: [ping]\n"
)


def make(folder: Path, kind: str) -> str:
    """Something that is no C file under the name of one; a word of what is said about it."""
    path = folder / "mine.c"
    if kind == "folder":
        path.mkdir()
        return "is a folder"
    if kind == "latin-1":
        path.write_bytes(b"/* sm\xf8r */\n" + WIRE.encode())
        return "is not UTF-8 text (byte 5)"
    if kind == "binary":
        path.write_bytes(b"int wire\0\1\2")
        return "is no text: it has zero bytes"
    if kind == "object":
        path.write_bytes(b"\x7fELF\2\1\1" + bytes(9))
        return "is a compiled object"
    if kind == "large":
        path.write_text(WIRE + "/* x */\n" * 200_000)
        return "is larger than 1 MiB"
    path.write_text("int wire;\n")
    return "defines no function wire"


@pytest.mark.parametrize("kind", ["folder", "latin-1", "binary", "object", "large", "variable"])
@pytest.mark.parametrize("command", ["plan", "run"])
def test_it_is_a_mistake_at_plan_time(tmp_path: Path, kind: str, command: str) -> None:
    said = make(tmp_path, kind)
    (tmp_path / "m.yaml").write_text(MATRIX.replace("HOOK", "tcx_ingress"))
    argv = [sys.executable, "-P", "-m", "yogurtbench", command, "m.yaml"]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert f"m.yaml:2:78: ./mine.c {said}" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.c")
    with pytest.raises(MatrixError, match="there is no file"):
        planned(tmp_path, MATRIX.replace("HOOK", "tcx_ingress"))


def test_a_wire_for_other_hooks_is_refused_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "mine.c").write_text("int wire(struct xdp_md *ctx) { return 2; }\n")
    with pytest.raises(MatrixError, match=r"xdp_md"):
        planned(
            tmp_path,
            MATRIX.replace("HOOK", "tcx_ingress").replace("[builtin, ./mine.c]", "./mine.c"),
        )
    plan = planned(tmp_path, MATRIX.replace("HOOK", "[tcx_ingress, xdp_generic]"))
    assert {one.cell.hook for one in plan.cells if one.cell.program == "./mine.c"} == {
        "xdp_generic"
    }
    assert ["xdp_md" in left.reason for left in plan.left_out] == [True]


def test_on_the_instruction_clock_a_text_has_to_fit_into_an_order(tmp_path: Path) -> None:
    (tmp_path / "mine.c").write_text(WIRE + "/* long */\n" * 10_000)
    text = MATRIX.replace("HOOK", "tcx_ingress")
    planned(tmp_path, text)
    with pytest.raises(MatrixError, match="fit into an order on the instruction clock"):
        planned(tmp_path, text, clock="instructions")
    assert wire_source.LARGEST_ORDERED < 1 << 17
