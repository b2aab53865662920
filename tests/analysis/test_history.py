"""Runs over time: which are held together, where they changed, and what is said of those left
out.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from cli_runner import Said, is_one_sentence
from fake_runs import Invented, cell, environment, stored, unseal
from rich.console import Console
from scipy import signal

from yogurtbench.analysis import change_points, history
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.records import Environment
from yogurtbench.report.pages import history as timeline
from yogurtbench.results import run_folder

SERIES = 200
STEP = 1.05


# --- change points --------------------------------------------------------------------------------


def flat(noise: random.Random, runs: int = 40, spread: float = 0.01) -> list[float]:
    return [noise.gauss(0, spread) for _ in range(runs)]


@pytest.mark.parametrize(("place", "spread"), [(20, 0.01), (10, 0.01), (35, 0.005), (38, 0.005)])
def test_a_step_of_5_percent_among_40_runs_is_found_to_within_one_run(
    place: int, spread: float
) -> None:
    noise = random.Random(place)
    found = []
    for _ in range(SERIES):
        logs = np.array(flat(noise, spread=spread))
        logs[place:] += np.log(STEP)
        found.append(change_points.change_points(logs))
    right = [places for places in found if len(places) == 1 and abs(places[0] - place) <= 1]
    assert len(right) >= 0.97 * SERIES, [places for places in found if places not in right]


#: Flat noise of several kinds, and the share of series that may show a change. For normal noise 5 %
#: is promised; the penalty leaves room below that, which heavy tails and one wild run in ten use
#: up.
NOISES: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], float]] = {
    "normal": (lambda noise: noise.normal(size=40), 0.05),
    "heavy tails": (lambda noise: noise.standard_t(3, size=40), 0.06),
    "one run in fifty eight times as noisy": (
        lambda noise: noise.normal(size=40) * np.where(noise.random(40) < 0.02, 8, 1),
        0.05,
    ),
    "of whole numbers": (lambda noise: np.round(noise.normal(size=40) * 3), 0.05),
}


@pytest.mark.parametrize("kind", NOISES)
def test_flat_noisy_series_of_40_runs_hardly_ever_show_a_change(kind: str) -> None:
    make, most = NOISES[kind]
    noise = np.random.default_rng(1)
    alarms = (
        sum(bool(change_points.change_points(make(noise) * 0.01)) for _ in range(SERIES)) / SERIES
    )
    print(f"{kind}: {alarms:.1%} of {SERIES} flat series show a change")
    assert alarms <= most


def test_a_family_of_series_is_as_quiet_as_one() -> None:
    noise = random.Random(3)
    families = [[np.array(flat(noise)) for _ in range(20)] for _ in range(SERIES)]
    alarms = (
        sum(any(change_points.change_points(logs, 20) for logs in family) for family in families)
        / SERIES
    )
    assert alarms <= 0.05


def test_one_wild_run_is_no_change_wherever_it_lies() -> None:
    for place in (0, 1, 20, 38, 39):
        logs = np.array(flat(random.Random(4)))
        logs[place] += 1.0
        assert change_points.change_points(logs) == []


def test_there_and_back_is_two_changes() -> None:
    logs = np.array(flat(random.Random(5)))
    logs[15:25] += 0.1
    assert change_points.change_points(logs) == [15, 25]


def test_the_noise_is_not_that_of_a_step_or_of_outliers() -> None:
    logs = np.array(flat(random.Random(6), 400))
    logs[200:] += 0.5
    logs[::40] += 1.0
    assert change_points.estimate_noise(logs) == pytest.approx(0.01, rel=0.2)


def test_equal_values_have_no_changes_and_a_difference_in_them_is_one() -> None:
    assert change_points.change_points(np.zeros(40)) == []
    assert change_points.change_points(np.repeat([0.0, 1e-4], 20)) == [20]


def test_fewer_than_30_runs_are_not_judged() -> None:
    assert change_points.change_points(np.repeat([0.0, 1.0], [15, 14])) == []
    assert change_points.change_points(np.repeat([0.0, 1.0], [15, 15])) == [15]


def test_exact_series_change_where_they_leave_their_level_by_more_than_the_margin() -> None:
    logs = np.log([1.0, 1.001, 0.999, 1.003, 1.003, 1.0])
    assert change_points.steps(logs, 0.002) == [3, 5]
    assert change_points.steps(logs, 0.0) == [1, 2, 3, 5]


# --- stored runs ----------------------------------------------------------------------------------


def name_of(number: int) -> str:
    return f"202611{1 + number // 24:02}T{number % 24:02}0000Z-{number:06x}"


def run(ratio: float, seed: int, **axes: object) -> Invented:
    """One wire of 30 trials a side whose median round trip is so many times the baseline's."""
    return Invented(
        (cell(),),
        blocks=6,
        effects={("netkit", "netkit_peer", "redirect"): ratio},
        seed=seed,
        name="phone",
        **axes,
    )  # type: ignore[arg-type]


def keep(one: Invented, out: Path, number: int) -> Path:
    path = stored(one, out)
    return path.rename(path.with_name(name_of(number)))


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of 40 runs, 5 % slower from the 26th on; not to be changed."""
    out = tmp_path_factory.mktemp("results")
    noise = random.Random(7)
    for number in range(40):
        keep(
            run(np.exp(noise.gauss(0, 0.01)) * (STEP if number >= 25 else 1.0), number), out, number
        )
    return out


@pytest.fixture(scope="module")
def told(phone: Path) -> history.History:
    """What is read of them."""
    return history.read(history.find_runs(Path("phone"), phone))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The results folder of three runs."""
    for number in range(3):
        keep(run(0.9, number), tmp_path / "results", number)
    return tmp_path / "results"


def headline(told: history.History) -> history.RatioSeries:
    (one,) = (one for one in told.series if one.deciding)
    return one


def test_a_step_in_stored_runs_is_found(told: history.History) -> None:
    one = headline(told)
    assert len(told.runs) == len(one.runs) == 40
    (change,) = one.changes
    assert abs(change.place - 25) <= 1
    assert change.run == one.runs[change.place]
    assert change.ratio == pytest.approx(STEP, abs=0.01)
    assert one.is_worse(change)
    assert one.levels == pytest.approx([1.0, STEP], abs=0.01)


def test_the_answer_names_wire_run_and_size_of_the_change(told: history.History, few: Path) -> None:
    (change,) = headline(told).changes
    said = timeline.answer(told)
    assert said.startswith(
        f"netkit l3 · netkit_peer → redirect changed with {change.run}: median round trip"
    )
    assert re.search(r"\+[45]\.\d % \(worse\)", said)
    assert said in timeline.render(told)
    assert timeline.answer(history.read(few / "phone")) == ""


def test_without_ruptures_there_are_ratios_and_a_sentence(
    phone: Path,
    call: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    said = call("history", "phone", "--out", str(phone))
    assert (said.code, said.err) == (0, "")
    assert "the library ruptures is not installed" in said.out
    assert "No change" not in said.out and "worse" not in said.out
    assert "40" in said.out


def test_a_quiet_history_says_so(tmp_path: Path) -> None:
    for number in range(30):
        keep(run(0.9, number), tmp_path, number)
    assert (
        timeline.answer(history.read(tmp_path / "phone")) == "No change in 1 series over 30 runs."
    )


def test_fewer_runs_say_how_many_more_are_needed_and_still_have_table_and_chart(
    few: Path,
    call: Callable[..., Said],
) -> None:
    said = call("history", "phone", "--out", str(few))
    assert (said.code, said.err) == (0, "")
    assert "27 more" in said.out
    assert re.search(r"netkit_peer → redirect +3 +[−+]", said.out), said.out
    assert "<svg" in (few / "phone" / "history.html").read_text()


def test_json_is_json_and_nothing_else(phone: Path, call: Callable[..., Said]) -> None:
    said = call("history", "phone", "--out", str(phone), "--json")
    assert (said.code, said.err) == (0, "")
    told = json.loads(said.out)
    (deciding,) = (one for one in told["series"] if one["deciding"])
    assert len(told["runs"]) == len(deciding["ratio"]) == 40
    (change,) = deciding["changes"]
    assert change["worse"] and change["run"] in told["runs"]


def test_a_change_says_what_else_changed_with_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        ratio = 1.0 if number < 2 else 1.2
        keep(run(ratio, 1, clock="instructions", accelerator="tcg"), tmp_path, number)
    for path in sorted((tmp_path / "phone").iterdir())[2:]:
        there = run_folder.read_environment(path)
        changed = replace(there, identity={**there.identity, "sockperf": "3.11"})
        (path / "environment.json").write_text(json.dumps(changed.to_json()))
    (change,) = headline(history.read(tmp_path / "phone")).changes
    assert (change.place, change.beside) == (2, ("sockperf 3.7 → 3.11",))


def test_on_the_instruction_clock_a_difference_is_a_change_at_once(tmp_path: Path) -> None:
    for number, ratio in enumerate((1.0, 1.0, 1.01)):
        keep(run(ratio, 1, clock="instructions", accelerator="tcg"), tmp_path, number)
    one = headline(history.read(tmp_path / "phone"))
    assert [change.place for change in one.changes] == [2]
    assert one.more_needed == 0


@pytest.mark.parametrize(
    "other",
    [
        {"kernel": "7.3.4"},
        {"lab": "native", "accelerator": "none"},
        {"accelerator": "tcg"},
        {"clock": "instructions", "accelerator": "tcg"},
    ],
    ids=["kernel", "lab", "accelerator", "clock"],
)
def test_runs_of_another_place_are_another_series_and_said_to_be(
    few: Path, other: dict[str, str]
) -> None:
    keep(run(2.0, 9, **other), few, 9)
    told = history.read(few / "phone")
    assert sorted(len(one.runs) for one in told.series if one.deciding) == [1, 3]
    assert any(
        "2 series that are not compared with each other" in said
        for said in timeline.sentences(told)
    )


def test_another_machine_is_another_series(few: Path) -> None:
    path = keep(run(2.0, 9), few, 9)
    there = run_folder.read_environment(path)
    moved = Environment(
        **{**there.to_json(), "identity": {**there.identity, "machine": "another, 4 CPUs"}}
    )
    (path / "environment.json").write_text(json.dumps(moved.to_json()))
    assert len({one.where for one in history.read(few / "phone").series}) == 2


def test_another_duration_of_the_load_is_another_series_and_named(few: Path) -> None:
    path = keep(run(2.0, 9), few, 9)
    unseal(path)
    plan = json.loads((path / "plan.json").read_text())
    for entry in plan["cells"]:
        entry["options"]["duration"] = 3.0
    (path / "plan.json").write_text(json.dumps(plan))
    deciding = [one for one in history.read(few / "phone").series if one.deciding]
    assert sorted((len(one.runs), one.traffic) for one in deciding) == [
        (1, "64 B, duration 3.0"),
        (3, "64 B, duration 1.0"),
    ]


def broken() -> Iterator[tuple[str, Callable[[Path], object], str]]:
    def lines(path: Path) -> list[str]:
        return (path / "trials.jsonl").read_text().splitlines(keepends=True)

    yield (
        "unfinished",
        lambda path: (path / "trials.jsonl").write_text("".join(lines(path)[:5])),
        "unfinished: 5 of",
    )
    yield (
        "torn",
        lambda path: (path / "trials.jsonl").write_text("".join(lines(path))[:-9]),
        "unfinished: 17 of",
    )
    yield (
        "damaged",
        lambda path: (path / "trials.jsonl").write_text("{}\n" + "".join(lines(path))),
        "trials.jsonl:1",
    )
    yield "without a plan", lambda path: (path / "plan.json").unlink(), "plan.json is missing"
    yield (
        "with a foreign plan",
        lambda path: (path / "plan.json").write_text("{}"),
        "plan.json was damaged",
    )
    yield (
        "emptied",
        lambda path: [one.unlink() for one in path.iterdir() if one.is_file()],
        "not a run folder",
    )


@pytest.mark.parametrize(
    ("damage", "why"), [pytest.param(*case[1:], id=case[0]) for case in broken()]
)
def test_broken_and_unfinished_runs_are_named_and_left_out(
    few: Path,
    call: Callable[..., Said],
    damage: Callable[[Path], object],
    why: str,
) -> None:
    damage(few / "phone" / name_of(1))
    said = call("history", "phone", "--out", str(few))
    assert (said.code, said.err) == (0, "")
    assert re.search(rf"left out: {name_of(1)}: .*{re.escape(why)}", said.out), said.out
    assert len(headline(history.read(few / "phone")).runs) == 2


def test_a_run_where_the_cell_failed_is_counted_as_missing(few: Path) -> None:
    keep(run(0.9, 9, failing={cell().id: "iperf3: error"}, dead=frozenset({cell().id})), few, 9)
    one = headline(history.read(few / "phone"))
    assert (len(one.runs), one.missing) == (3, (name_of(9),))


def test_runs_without_a_baseline_have_nothing_to_follow(
    tmp_path: Path, call: Callable[..., Said]
) -> None:
    stored(Invented((cell(load="reachability"),), blocks=2, name="phone"), tmp_path / "results")
    said = call("history", "phone")
    assert said.code == 0
    assert "no cell has a ratio to a baseline" in said.out


def test_foreign_folders_give_one_clear_sentence(few: Path, call: Callable[..., Said]) -> None:
    (few / "notes").mkdir()
    (few / "notes" / "a.txt").write_text("a")
    for asked, words in (
        ("notes", "notes: no runs in it"),
        ("phon", "no experiment of that name in results: did you mean phone?"),
        (f"results/phone/{name_of(0)}", "a single run; its experiment is"),
        ("results", "results: no runs in it, but experiments: phone"),
    ):
        said = call("history", asked)
        is_one_sentence(said, 2)
        assert words in said.err
    shutil.rmtree(few)
    is_one_sentence(call("history", "phone"), 2)


def test_a_folder_may_be_named_instead(few: Path) -> None:
    assert history.find_runs(few / "phone", Path("elsewhere")) == few / "phone"
    with pytest.raises(MatrixError):
        history.find_runs(Path("phone"), Path("elsewhere"))


def test_the_page_fetches_nothing_and_what_others_wrote_stays_text(tmp_path: Path) -> None:
    evil = "</style><script>alert(1)</script>"
    one = run(0.9, 1, kernel=evil)
    page = timeline.write(history.read(keep(one, tmp_path, 0).parent))
    text = page.read_text()
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!#|data:)", text)
    assert environment(one).kernel == evil


def test_a_program_may_be_called_what_it_likes(tmp_path: Path) -> None:
    own = cell(program="./a$\\foo{$<b>.c")
    stored(Invented((own,), blocks=6, name="phone"), tmp_path)
    told = history.read(tmp_path / "phone")
    assert "<b>" not in timeline.render(told)
    assert all("\\foo{" in chart.svg for chart in timeline.charts(told))


def test_the_chart_has_a_mark_a_run_and_a_line_a_level(told: history.History) -> None:
    (chart,) = [chart for chart in timeline.charts(told) if "median round trip" in chart.title]
    ElementTree.fromstring(chart.svg)
    assert "change against the baseline" in chart.svg
    assert re.search(r"\+[45]\.\d %", chart.svg)
    assert chart.svg == timeline.charts(told)[0].svg


def test_autocorrelated_noise_is_known_to_be_harder() -> None:
    """Runs that lean on the one before (a machine that warms for days) show changes more often.

    Docs say so.
    """
    noise = np.random.default_rng(2)
    series = (signal.lfilter([1], [1, -0.3], noise.normal(size=90))[50:] for _ in range(SERIES))
    assert sum(bool(change_points.change_points(logs)) for logs in series) / SERIES <= 0.15


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table_fits(told: history.History, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(*timeline.tables(told, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert any("redirect" in line for line in lines)
