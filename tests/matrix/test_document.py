import codecs
import os
import re
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import written

from yogurtbench.core.errors import MatrixError
from yogurtbench.core.wording import kind
from yogurtbench.matrix import document as module
from yogurtbench.matrix.document import read
from yogurtbench.matrix.planner import load


def test_values_are_yaml_1_2(tmp_path: Path) -> None:
    text = (
        "{on: on, off: off, no: no, release: '6.12', ip: 010, day: 2024-01-01, none: ~, true: true}"
    )
    expected = {
        "on": "on",
        "off": "off",
        "no": "no",
        "release": "6.12",
        "ip": 10,
        "day": "2024-01-01",
    }
    assert read(written(tmp_path, text)).value == {**expected, "none": None, "true": True}


def test_json_is_yaml(tmp_path: Path) -> None:
    text = '{\n\t"name": "x\\/y \\ud83d\\ude00",\n\t"list": [1,\t2.5, null]\n}'
    assert read(written(tmp_path, text)).value == {
        "name": "x/y \N{GRINNING FACE}",
        "list": [1, 2.5, None],
    }


def test_places_count_from_one_and_a_missing_path_is_where_it_would_be(tmp_path: Path) -> None:
    document = read(written(tmp_path, "a: 1\nb:\n  - x\n  - {c: y}\n"))
    assert document.place(("b", 1, "c")) == (4, 9)
    assert document.place(("b", 1, "c"), key=True) == (4, 6)
    assert document.place(("b", "tag", 1, "d")) == (4, 5)
    assert document.place(()) == (1, 1)


def test_anchors_aliases_and_merges_are_followed(tmp_path: Path) -> None:
    text = textwrap.dedent("""\
        base: &base {a: 1, b: 2}
        more: &more
          <<: *base
          c: 3
        all: {<<: [*more, {d: 5, c: 9}], b: 4}
        same: *base
    """)
    value = read(written(tmp_path, text)).value
    assert value["all"] == {"a": 1, "b": 4, "c": 3, "d": 5}
    assert value["same"] == {"a": 1, "b": 2}


def test_a_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"\xef\xbb\xbfname: x\n")).value == {"name": "x"}


def bomb() -> str:
    lines = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    return "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *lines])


BAD = [
    ("", "1:1: the file is empty"),
    ("# nothing\n", "1:1: the file is empty"),
    ("- a\n", "1:1: a matrix is a mapping (name: …, axes: …), not a list"),
    ("word", "1:1: a matrix is a mapping (name: …, axes: …), not the word 'word'"),
    ("a: b: c", "1:5: this is not YAML"),
    ("a: [1, 2\nb: 3", "2:2: this is not YAML"),
    ("\ta: 1", "1:1: this is not YAML"),
    ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3: c is given twice: the first is in line 3"),
    ("a: *b", "1:4: this is not YAML: found undefined alias 'b'"),
    ("a: &a [*a]", "1:4: the values are nested too deeply"),
    ("[" * 20_000, "1:1: the values are nested too deeply"),
    ("{a: " * 30 + "1" + "}" * 30, ": the values are nested too deeply"),
    (
        "a: !!python/object:os.system x",
        "1:4: the tag tag:yaml.org,2002:python/object:os.system is not allowed here",
    ),
    ("a: !foo [x]", "1:4: the tag !foo is not allowed here"),
    ("a: 1\n---\nb: 2\n", "2:1: this is not YAML"),
    ("a: \x01", "1:4: the character '\\x01' is not allowed in YAML"),
    ("%YAML 1.1\n---\na: on\n", "1:1: a matrix is YAML 1.2: remove this line"),
    ("? [a]\n: b", "1:3: a key is one word"),
    ("<<: 5", "1:5: << takes an alias of a mapping"),
    ('a: "\\ud83d"', "1:4: half a character"),
    (bomb(), ": the aliases (*) unfold into more than 200,000 values"),
    (b"name: x\nquestion: \xff\n", "2:11: byte 0xff is not UTF-8"),
    ("name: x\n".encode("utf-16"), "1:1: byte 0xff is not UTF-8"),
    (b"a" * 5_000_000, "the file is larger than 4 MiB"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said[:50] for _, said in BAD])
def test_what_is_no_document_is_reported_with_its_place(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(MatrixError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_reported(tmp_path: Path) -> None:
    said = {
        tmp_path: "this is a folder",
        tmp_path / "none.yaml": "no such file",
        Path("/dev/zero"): "this is a device",
    }
    for path, words in {**said, Path("/proc/self/mem"): "the file cannot be read"}.items():
        with pytest.raises(MatrixError, match=words):
            read(path)


#: What YAML reads as a number and Python would write otherwise.
NUMBERS = st.one_of(
    st.from_regex(r"[1-9]\d?\.\d{1,4}0{0,3}", fullmatch=True),
    st.from_regex(r"[1-9]\d{0,2}[eE][+-]?\d", fullmatch=True),
    st.from_regex(
        r"0x[1-9a-fA-F][0-9a-fA-F]{0,5}|0o[1-7][0-7]{0,5}|[+][1-9]\d?|0\d{1,3}", fullmatch=True
    ),
    st.sampled_from(
        [
            ".inf",
            "-.inf",
            ".NaN",
            "1_000",
            "1_0.5",
            "6.",
            "6.10",
            "1e400",
            "123456789012345678901234567890",
        ]
    ),
)


@given(text=NUMBERS)
def test_a_number_is_shown_as_it_was_written(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = written(tmp_path_factory.mktemp("numbers"), f"name: x\naxes: {{kernel: {text}}}\n")
    value = read(file).value["axes"]["kernel"]
    if isinstance(value, str):  # 6. and 1_0.5 may be words to YAML 1.2
        return
    assert kind(value) == f"the number {text}"
    with pytest.raises(
        MatrixError,
        match=re.escape(f'kernel {text} was read as a number: write it in quotes, "{text}"'),
    ):
        load(file)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("name: 1e3", 'not the number 1e3: write it in quotes, "1e3"'),
        (
            "name: x\nquestion: 6.10",
            'question is a text, not the number 6.10: write it in quotes, "6.10"',
        ),
        ("name: x\nseed: 1e3", "seed takes a whole number, not the number 1e3: did you mean 1000?"),
        ("name: x\naxes: {helper: 0x10}", "not the number 0x10"),
        ("name: x\naxes: {payload: 0xFFFFFF}", "payload 0xFFFFFF is out of range"),
        (
            "name: x\nloads: [{kind: sockperf, duration: 1.50}]",
            "not the number 1.50: did you mean 1.5s?",
        ),
        ("name: x\nloads: [{kind: sockperf, duration: -1.50}]", "not the number -1.50$"),
        ("name: x\nblocks: {precision: 0.010}", "not the number 0.010: did you mean 1%?"),
        ("name: x\nblocks: {precision: true}", "not true$"),
        ("name: x\naxes: {gso: yes}", "gso is on or off: did you mean on?"),
        ("name: x\naxes: {gro: FALSE}", "gro is on or off: did you mean off?"),
    ],
)
def test_what_was_written_stands_in_the_message(tmp_path: Path, key: str, sentence: str) -> None:
    with pytest.raises(MatrixError, match=sentence.replace("?", r"\?").replace("(", r"\(")):
        load(written(tmp_path, key + "\n"))


def test_a_number_written_otherwise_is_that_number(tmp_path: Path) -> None:
    matrix = load(
        written(
            tmp_path,
            "name: x\nseed: 0x10\naxes: {payload: [0x40, 1_000], cpus: [0x0, +1], ip: 0o4}\n",
        )
    )
    values = [
        matrix.seed,
        *matrix.axes.named["payload"],
        *matrix.axes.named["cpus"][0],
        *matrix.axes.named["ip"],
    ]
    assert values == [16, 64, 1000, 0, 1, 4]
    assert {type(value) for value in values} == {int}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("question: which wire: the best?", "text with a colon in it stands in quotes"),
        ("axes:\n\tdevice: veth", "indent with spaces"),
        ("question: @all", "such text stands in quotes"),
        ("question: *all", "such text stands in quotes"),
        ("question: !all", "stands in quotes"),
        ("question: [x", "the bracket that opens in line 2 is not closed"),
        ('question: "x', "the quote that begins in line 2 is not closed"),
        ("question: 'it's'", "in quotes of the other kind"),
        ("axes:\n  device: veth\n hook: x", "the indentation does not fit"),
        ("axes:\n  hook:netkit_peer", "a space belongs behind the colon"),
        ("lab:vm", "line 2 is no key"),
        ("---\nname: b", "a matrix is one document"),
    ],
)
def test_what_is_not_yaml_is_reported_with_what_to_do(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(MatrixError, match=re.escape(hint)):
        load(written(tmp_path, f"name: a\n{text}\n"))


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_another_encoding_is_named(tmp_path: Path, mark: bytes) -> None:
    with pytest.raises(MatrixError, match=r"is not UTF-8: the file is UTF-16; save it as UTF-8"):
        read(written(tmp_path, mark + b"n\0a\0"))


def test_a_pipe_is_read_and_nobody_waits_for_one_without_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(MatrixError, match="this is a pipe, and for 1 s nothing was written to it"):
        read(pipe)
    writer = threading.Thread(target=pipe.write_text, args=["name: a\n"])
    writer.start()
    assert read(pipe).value == {"name": "a"}
    writer.join()
