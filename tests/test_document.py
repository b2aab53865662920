import textwrap
from pathlib import Path

import pytest
from matrices import written

from yogurtbench.document import read
from yogurtbench.records import MatrixError


def test_values_are_yaml_1_2(tmp_path: Path) -> None:
    text = "{on: on, off: off, no: no, release: '6.12', ip: 010, day: 2024-01-01, none: ~, true: true}"
    expected = {"on": "on", "off": "off", "no": "no", "release": "6.12", "ip": 10, "day": "2024-01-01"}
    assert read(written(tmp_path, text)).value == {**expected, "none": None, "true": True}


def test_json_is_yaml(tmp_path: Path) -> None:
    text = '{\n\t"name": "x\\/y \\ud83d\\ude00",\n\t"list": [1,\t2.5, null]\n}'
    assert read(written(tmp_path, text)).value == {"name": "x/y \N{GRINNING FACE}", "list": [1, 2.5, None]}


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
    ("a: !!python/object:os.system x", "1:4: the tag tag:yaml.org,2002:python/object:os.system is not allowed here"),
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
def test_what_is_no_document_is_told_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(MatrixError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    said = {tmp_path: "this is a folder", tmp_path / "none.yaml": "no such file", Path("/dev/zero"): "this is a device"}
    for path, words in {**said, Path("/proc/self/mem"): "the file cannot be read"}.items():
        with pytest.raises(MatrixError, match=words):
            read(path)
