"""trials.jsonl: what is changed, lost, doubled or another run's is named by its line."""

from __future__ import annotations

import copy
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_runs import Invented, cell, environment, yogurt_phone
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated

from yogurtbench import report
from yogurtbench.core import files
from yogurtbench.core.errors import MatrixError, YogurtError
from yogurtbench.report.export import baseline
from yogurtbench.results import run_folder, trial_log
from yogurtbench.results.frame import to_frame
from yogurtbench.results.run_folder import StoredRun
from yogurtbench.results.trial_log import DamagedLine, Line, encode_line, read_lines

RUN = "20260101T000000Z-abcdef"
#: Mutations a test; the long form (nox -s fuzz) takes more.
EXAMPLES = max(150, settings.default.max_examples)
MOST = settings(max_examples=EXAMPLES, deadline=None)


def small() -> Invented:
    return Invented((cell(), cell(payload=200)), blocks=3)


def lines_of(run: Invented, name: str = RUN) -> list[bytes]:
    return [encode_line(Line(n, one, name)) for n, one in enumerate(run.attempts(), 1)]


def damages(lines: list[bytes], run: str = RUN) -> list[tuple[int, str]]:
    found = read_lines(b"".join(lines), run)
    return [(one.place, one.why) for one in found if isinstance(one, DamagedLine)]


def test_what_was_written_reads_back_and_says_its_place() -> None:
    run = small()
    found = list(read_lines(b"".join(lines_of(run)), RUN))
    assert [one.attempt for one in found if isinstance(one, Line)] == list(run.attempts())
    assert [one.number for one in found if isinstance(one, Line)] == list(range(1, len(found) + 1))


def test_every_flipped_bit_of_a_line_is_noticed() -> None:
    lines = lines_of(small())
    line = lines[2]
    for place in range(0, len(line) - 1, 7):
        for bit in (1, 4):
            changed = bytearray(line)
            changed[place] ^= bit
            if changed[place] == 0x0A:
                continue
            found = damages([*lines[:2], bytes(changed), *lines[3:]])
            assert found and found[0][0] == 3, line[place - 9 : place + 9]


def test_a_line_twice_lost_moved_or_of_another_run_is_named() -> None:
    lines, other = lines_of(small()), lines_of(small(), "20260101T000000Z-000000")
    assert damages([*lines[:3], *lines[2:]])[0] == (4, "line 3 a second time")
    assert damages([*lines[:3], *lines[4:]])[0] == (4, "this is line 5: line 4 is lost")
    assert damages([*lines[:3], *lines[5:]])[0] == (4, "this is line 6: lines 4 to 5 are lost")
    assert damages([*lines[:2], other[2], *lines[3:]])[0] == (
        3,
        f"run: 20260101T000000Z-000000, and this is run {RUN}",
    )
    assert damages([lines[1], lines[0], *lines[2:]]) == [
        (1, "this is line 2: line 1 is lost"),
        (2, "this is line 1, out of its order"),
    ]


def test_a_line_without_a_check_sum_among_others_is_named() -> None:
    run, lines = small(), lines_of(small())
    bare = encode_line(Line(3, list(run.attempts())[2]))
    assert damages([*lines[:2], bare, *lines[3:]])[0][0] == 3


def test_a_run_of_before_reads_unchecked_but_no_trial_twice() -> None:
    lines = [encode_line(Line(n, one)) for n, one in enumerate(small().attempts(), 1)]
    assert damages(lines, "") == []
    (place, why) = damages([*lines, lines[0]], "")[0]
    assert place == len(lines) + 1 and "has a result in a line before" in why


def written(run: Invented, out: Path, most: int = 10**6) -> Path:
    with StoredRun.create(out, run.name, "matrix\n", run.plan(), environment(run)) as stored:
        for attempt in list(run.attempts())[:most]:
            stored.append(attempt)
    return stored.path


def test_everything_a_resume_needs_is_there_before_the_first_trial(tmp_path: Path) -> None:
    path = written(small(), tmp_path, 0)
    assert (path / "trials.jsonl").read_bytes() == b""
    assert run_folder.read_plan(path) == small().plan()
    assert run_folder.read_environment(path) == environment(small())
    assert run_folder.read_matrix(path) == "matrix\n"


def test_an_interrupted_block_is_superseded_whole_and_a_whole_one_is_kept(tmp_path: Path) -> None:
    run = small()
    attempts = list(run.attempts())
    block = sum(one.trial.block == 0 for one in attempts)
    path = written(run, tmp_path, block + 1)
    before = (path / "trials.jsonl").read_bytes().splitlines()
    with StoredRun.resume(path) as again:
        assert again.attempts == attempts[:block]
        assert again.repeated == 1
        for attempt in attempts[block:]:
            again.append(attempt)
    assert run_folder.load(path)[0] == attempts
    after = [json.loads(line) for line in (path / "trials.jsonl").read_bytes().splitlines()]
    assert [one.get("superseded", False) for one in after] == [False] * block + [True] + [False] * (
        len(attempts) - block
    )
    assert (path / "trials.jsonl").read_bytes().splitlines()[:block] == before[:block]
    with StoredRun.resume(path) as whole:
        assert whole.repeated == 0 and whole.attempts == attempts


def test_changed_plans_and_environments_are_named(tmp_path: Path) -> None:
    path = written(small(), tmp_path)
    plan, surroundings = path / "plan.json", path / "environment.json"
    kept = plan.read_text()
    plan.write_text(kept.replace('"payload": 200', '"payload": 201', 1))
    with pytest.raises(MatrixError, match=r"plan\.json: it was changed after it was written"):
        report.make(path)
    plan.write_text(kept)
    surroundings.write_text(surroundings.read_text().replace('"vm"', '"native"', 1))
    with pytest.raises(
        MatrixError, match=r"environment\.json: it was changed after it was written"
    ):
        report.make(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data.update(status="fine"), "status: Invalid enum value 'fine'"),
        (lambda data: data["trial"].update(block="1"), "trial.block: Expected `int`, got `str`"),
        (lambda data: data["trial"].update(block=10**12), "block: 1000000000001 cannot be"),
        (lambda data: data["trial"]["cell"].update(load="x"), "an unknown load, 'x'"),
        (lambda data: data["trial"].pop("cell"), "'cell' is missing"),
        (
            lambda data: data["observations"][0].update(value="1"),
            "observations[0].value: Expected `float | null`, got `str`",
        ),
        (lambda data: data["observations"][0].update(value=-1.0), "cannot be -1.0"),
        (lambda data: data["details"].update(devices=[1]), "details.devices: Expected `object`"),
        (
            lambda data: data["details"].update(quantiles={"a": 1.0}),
            "details.quantiles: 'a' is no percent",
        ),
        (
            lambda data: data["details"].update(quantiles={"101": 1.0}),
            "details.quantiles: '101' is no percent",
        ),
        (
            lambda data: data["details"].update(counters={"wire.forward": [1, 2, 3]}),
            "details.counters.wire.forward: 3 numbers are no packets and bytes",
        ),
        (
            lambda data: data["details"].update(tallies={"forward": [[1, 2], [3]]}),
            "details.tallies.forward: 1 numbers are no packets and bytes",
        ),
        (lambda data: data.update(colour="blue"), "an unknown key, 'colour'"),
    ],
)
def test_what_an_older_run_has_wrong_is_said_with_its_field(spoil: Any, said: str) -> None:
    data = next(small().attempts()).to_json()
    spoil(data)
    (place, why) = damages([json.dumps(data).encode() + b"\n"], "")[0]
    assert place == 1 and said in why, why


def test_a_salvage_leaves_out_what_is_damaged_and_keeps_what_is_whole(tmp_path: Path) -> None:
    run = small()
    attempts, path = list(run.attempts()), written(run, tmp_path)
    lines = (path / "trials.jsonl").read_bytes().splitlines(keepends=True)
    spoilt = lines[6].replace(b'"position":', b'"Position":', 1)
    (path / "trials.jsonl").write_bytes(
        b"".join([*lines[:3], *lines[4:6], spoilt, lines[7], lines[7], *lines[8:]])
    )
    found = run_folder.read_trials(path, run.plan(), salvage=True)
    assert found.attempts == [one for n, one in enumerate(attempts) if n not in (3, 6)]
    assert [line.split(":")[0] for line in found.lost] == ["line 4", "line 6", "line 8"]
    with pytest.raises(MatrixError, match=r"trials\.jsonl:4: .*line 4 is lost.*--salvage"):
        run_folder.read_trials(path, run.plan())


# -- hostile folders -------------------------------------------------------------------------------

SECRET = "a secret of somebody else"


@pytest.mark.parametrize("name", ["matrix.yaml", "plan.json", "environment.json", "trials.jsonl"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_nothing_is_read_through_a_link_or_from_a_pipe(
    name: str, kind: str, tmp_path: Path
) -> None:
    path = written(small(), tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    (path / name).unlink()
    if kind == "link":
        (path / name).symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(path / name)
    else:
        (path / name).mkdir()
    with pytest.raises(YogurtError, match=rf"{name}") as refused:
        report.make(path)
    assert SECRET not in str(refused.value) and "\n" not in str(refused.value)
    assert not (path / "report.html").exists()


WRITTEN = ["report.html", "report.md", "verdicts.json", "pyperf.json", "comparison.csv"]


@pytest.mark.parametrize("name", [*WRITTEN, "observations.parquet"])
def test_nothing_is_written_through_a_link(name: str, tmp_path: Path) -> None:
    path = written(small(), tmp_path)
    (tmp_path / "precious").write_text("theirs")
    (path / name).symlink_to(tmp_path / "precious")
    report.make(path)
    assert (tmp_path / "precious").read_text() == "theirs"
    assert (path / name).is_file() and not (path / name).is_symlink()


def test_a_folder_of_charts_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = written(small(), tmp_path)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "kept.svg").write_text("theirs")
    (path / "charts").symlink_to(tmp_path / "theirs")
    with pytest.raises(YogurtError, match="charts"):
        report.make(path)
    assert [one.name for one in (tmp_path / "theirs").iterdir()] == ["kept.svg"]


def test_a_resume_appends_through_no_link(tmp_path: Path) -> None:
    path = written(small(), tmp_path, 1)
    (path / "trials.jsonl").rename(tmp_path / "elsewhere")
    (path / "trials.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MatrixError, match=r"trials\.jsonl: a symbolic link"):
        StoredRun.resume(path)


@pytest.mark.root
def test_a_file_of_another_user_than_the_folders_is_not_read(tmp_path: Path) -> None:
    path = written(small(), tmp_path)
    os.chown(path, 65_534, 65_534)
    for file in path.iterdir():
        os.chown(file, 65_534, 65_534)
    report.make(path)
    assert {file.stat().st_uid for file in path.rglob("*")} == {65_534}
    os.chown(path / "matrix.yaml", 0, 0)
    with pytest.raises(MatrixError, match=r"matrix\.yaml: belongs to another user than its folder"):
        run_folder.read_matrix(path)


def test_a_killed_writers_leftovers_go_with_the_next_report(tmp_path: Path) -> None:
    path = written(small(), tmp_path)
    left = path / f".{secrets.token_hex(8)}.part"
    left.mkdir()
    (left / "report.html").write_text("half")
    report.make(path)
    assert not left.exists() and not list(path.glob(".*"))


def test_what_another_writer_is_writing_stays(tmp_path: Path) -> None:
    path = written(small(), tmp_path)

    def meanwhile(part: Path) -> None:
        report.make(path)
        part.write_text("whole")

    files.replace_file(path / "notes", meanwhile)
    assert (path / "notes").read_text() == "whole" and not list(path.glob(".*"))


# -- mutated ---------------------------------------------------------------------------------------

SNIPPETS = ["", "-1", "nan", "1e999", "null", "{}", "[]", "0", '"', "99999999999999999999", "true"]
KEYS = ["value", "metric", "block", "cell", "load", "status", "line", "check", "run", "payload"]


def values(data: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: what holds it, and its key there."""
    found: list[tuple[Any, Any]] = []
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        found.append((data, key))
        if isinstance(value, dict | list):
            found += values(value)
    return found


ODD = st.sampled_from(
    [None, True, -1, 0, 2**70, 1.5, -0.0, 1e300, "", "x", "ok", [], {}, [[]], {"a": 1}, "\ud800"]
)


def changed(text: str, data: st.DataObject) -> str:
    """A JSON text with a value replaced or gone: what is syntax stays whole."""
    found = json.loads(text)
    for _ in range(data.draw(st.integers(1, 2))):
        holder, key = data.draw(st.sampled_from(values(found)))
        try:
            if data.draw(st.booleans()):
                holder[key] = copy.deepcopy(data.draw(ODD))
            else:
                del holder[key]
        except (KeyError, IndexError):
            continue
    return json.dumps(found)


BARE = [json.dumps(one.to_json()) for one in yogurt_phone(blocks=1).attempts()][:40]


@pytest.mark.fuzz
@MOST
@given(st.data())
def test_no_mutated_line_escapes(data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(BARE))
    text = (
        changed(line, data) if data.draw(st.booleans()) else mutated(line, data, [*SNIPPETS, *KEYS])
    )
    for one in read_lines(text.encode("utf-8", "surrogatepass") + b"\n", ""):
        if isinstance(one, Line):
            to_frame([one.attempt], "run")
        else:
            assert one.why and "\n" not in one.why


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(small(), tmp_path_factory.mktemp("whole"))


@pytest.mark.fuzz
@settings(max_examples=max(10, EXAMPLES // 20), deadline=None)
@given(st.data())
def test_no_mutated_run_of_before_gets_into_the_report(whole: Path, data: st.DataObject) -> None:
    """Without digests, so that what is changed is looked at, not only noticed."""
    about = ("line", "run", "check", "plan")
    path = whole.with_name(f"{whole.name}-{secrets.token_hex(4)}")
    path.mkdir()
    for name in ("matrix.yaml", "plan.json", "environment.json", "trials.jsonl"):
        text = (whole / name).read_text()
        if name != "matrix.yaml":
            parts = text.splitlines() if name == "trials.jsonl" else [text]
            bare = [{k: v for k, v in json.loads(one).items() if k not in about} for one in parts]
            text = "\n".join(map(json.dumps, bare)) + "\n" * (name == "trials.jsonl")
        (path / name).write_text(text)
    name = data.draw(st.sampled_from(["plan.json", "environment.json", "trials.jsonl"]))
    text = (path / name).read_text()
    if name == "trials.jsonl":
        lines = text.splitlines()
        place = data.draw(st.integers(0, len(lines) - 1))
        lines[place] = changed(lines[place], data)
        text = "\n".join(lines) + "\n"
    else:
        text = changed(text, data)
    (path / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(YogurtError):
        report.make(path)


@pytest.fixture(scope="module")
def kept(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("baseline") / "b.json"
    baseline.write(whole, file)
    return file.read_text()


@pytest.mark.fuzz
@MOST
@given(st.data())
def test_no_mutated_baseline_escapes(
    kept: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.getbasetemp() / "mutated.json"
    text = (
        changed_baseline(kept, data)
        if data.draw(st.booleans())
        else mutated(kept, data, [*SNIPPETS, *KEYS])
    )
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(YogurtError):
        baseline.read(file)


def changed_baseline(text: str, data: st.DataObject) -> str:
    """A baseline whose inner JSON texts are changed: pyperf carries them as metadata."""
    found = json.loads(text)
    inner = [
        (holder, key)
        for holder, key in values(found)
        if isinstance(holder[key], str) and holder[key].startswith("{")
    ]
    holder, key = data.draw(st.sampled_from(inner))
    holder[key] = changed(holder[key], data)
    return json.dumps(found)


def test_the_check_sum_is_part_of_the_contract() -> None:
    line = lines_of(small())[0]
    body, _, end = line.partition(b',"check":"')
    assert end == trial_log.check_sum(body).encode() + b'"}\n'


def test_a_trial_of_another_cell_under_a_planned_id_is_named(tmp_path: Path) -> None:
    """An id is made of what differs from the defaults: with other defaults it stays."""
    run = written(small(), tmp_path)
    lines = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    for line in lines:
        for name in ("line", "run", "check"):
            del line[name]
    cell = lines[4]["trial"]["cell"]
    cell["mtu"] = cell["defaults"]["mtu"] = 9000
    (run / "trials.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(MatrixError, match=r"trials\.jsonl:5: .*plan\.json has no such cell"):
        report.make(run)
