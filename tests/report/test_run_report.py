"""Reports: everything is made from the stored files, says what it may, and nothing that was written
by others runs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyperf
import pytest
from browser import opened
from fake_runs import EFFECTS, WIRES, Invented, cell, environment, stored, yogurt_phone

from yogurtbench import report
from yogurtbench.analysis.comparison import EMULATED
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.labels import traffic_names, wire_names
from yogurtbench.core.records import Attempt
from yogurtbench.report.format import format_change, format_number
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.summary import summarise
from yogurtbench.report.sections.warnings import collect_warnings
from yogurtbench.results import run_folder
from yogurtbench.results.frame import to_frame

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}|`$(id)`\n# h"


def story_of(run: Invented, attempts: list[Attempt] | None = None) -> RunData:
    told = attempts if attempts is not None else list(run.attempts())
    return RunData.tell("run", "matrix", run.plan(), environment(run), told, to_frame(told, "run"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report."""
    path = stored(yogurt_phone(), tmp_path_factory.mktemp("runs"))
    report.make(path)
    return path


# --- files ----------------------------------------------------------------------------------------


def test_every_file_of_the_contract_is_written(folder: Path) -> None:
    written = report.make(folder)
    names = {str(path.relative_to(folder)) for path in written}
    assert {
        "observations.parquet",
        "comparison.csv",
        "report.html",
        "report.md",
        "pyperf.json",
    } <= names
    assert {
        "charts/effect-sockperf.svg",
        "charts/level-iperf3-tcp.svg",
        "charts/truth-netkit-l3.svg",
    } <= names
    assert all(path.stat().st_size for path in written)


def test_made_twice_it_is_the_same_to_the_byte(folder: Path) -> None:
    before = {path: path.read_bytes() for path in report.make(folder)}
    assert {path: path.read_bytes() for path in report.make(folder)} == before


def test_it_needs_neither_lab_nor_bcc_nor_a_yaml_reader(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from yogurtbench import report; "
        "report.make(Path(sys.argv[1]));"
        "bad = {'bcc', 'pyroute2', 'ruamel', 'yogurtbench.wire', 'yogurtbench.lab'} & "
        "set(sys.modules); print(bad)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, cwd=folder
    )
    assert done.stdout.strip() == "set()"


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MatrixError):
        report.make(tmp_path)


@pytest.mark.parametrize(
    "run",
    [
        yogurt_phone(blocks=1),
        yogurt_phone(blocks=2, clock="instructions", accelerator="tcg"),
        Invented((cell(load="reachability"),), blocks=1),
        Invented((cell(),), blocks=8, dead=frozenset({cell().id})),
        Invented((cell(),), blocks=8, failing={cell().id: "iperf3: error - unable to connect"}),
        Invented(tuple(cell(hook=f"tcx_{n}", mtu=1400 + n) for n in range(90)), blocks=2),
    ],
    ids=["one block", "instructions", "words alone", "all dead", "failing", "many wires"],
)
def test_odd_runs_have_a_report(run: Invented, tmp_path: Path) -> None:
    path = stored(run, tmp_path)
    assert report.make(path)
    assert len((path / "report.md").read_text().splitlines()) <= 40


def test_a_run_without_any_attempt_has_a_report(tmp_path: Path) -> None:
    run = yogurt_phone()
    with run_folder.StoredRun.create(tmp_path, run.name, "", run.plan(), environment(run)) as empty:
        report.make(empty.path)
    assert "Nothing was measured" in (empty.path / "report.html").read_text()
    assert not (empty.path / "pyperf.json").exists()


# --- what it says ---------------------------------------------------------------------------------


def test_the_answer_names_the_best_wire_and_its_effect() -> None:
    said = summarise(story_of(yogurt_phone()))
    reach = "5 of 6 wires carry packets (all but netkit l3 · tcx_ingress → redirect_peer); "
    assert said.startswith(
        f"{reach}netkit l3 · netkit_peer → redirect is best: 12 % shorter median round trip"
    )
    assert "against veth direct" in said and "1 of 5 wires beats it" in said


def test_the_answer_is_no_surer_than_the_verdicts() -> None:
    noisy = yogurt_phone(noise=0.6, effects={})
    assert "; we don't know yet: none of 20 comparisons" in summarise(story_of(noisy))
    slower = yogurt_phone(effects=dict.fromkeys(WIRES, 1.3), noise=0.003)
    assert "; no wire beats veth direct; " in summarise(story_of(slower))
    equal = yogurt_phone(effects={}, noise=0.003)
    assert "equal it within the margin" in summarise(story_of(equal))
    assert "; we don't know yet: " in summarise(story_of(yogurt_phone(blocks=1)))


def test_a_moving_canary_opens_the_report() -> None:
    run = yogurt_phone(canary=1.15)
    assert next(one for one in collect_warnings(story_of(run)) if one.kind == "canary").grave
    from yogurtbench.report.pages.run import render

    page = render(story_of(run), [])
    assert page.index("The baseline differs from itself") < page.index('class="answer"')


def test_failures_drift_and_broken_off_runs_are_reported() -> None:
    run = yogurt_phone()
    bad = replace(run, failing={one.id: "boom" for one in run.cells})
    assert {"failures"} <= {one.kind for one in collect_warnings(story_of(bad))}
    assert {"unfinished"} <= {
        one.kind for one in collect_warnings(story_of(run, list(run.attempts())[:100]))
    }
    helpers = tuple(cell(helper=f"h{n}") for n in range(9))
    assert {"drift"} <= {
        one.kind for one in collect_warnings(story_of(Invented(helpers, drift=1.3)))
    }
    assert not collect_warnings(story_of(run))


def test_emulation_is_labelled_on_every_chart_table_and_export(tmp_path: Path) -> None:
    path = stored(yogurt_phone(accelerator="tcg", blocks=6), tmp_path)
    report.make(path)
    charts = list((path / "charts").glob("*.svg"))
    assert charts and all(EMULATED in chart.read_text() for chart in charts)
    page = (path / "report.html").read_text()
    for section in ("best", "comparisons", "trials"):
        assert EMULATED in page[page.index(f'id="{section}"') :][:600], section
    assert all(EMULATED in line for line in (path / "comparison.csv").read_text().splitlines()[1:])
    assert "emulated" in (path / "report.md").read_text()
    suite = pyperf.BenchmarkSuite.load(str(path / "pyperf.json"))
    assert all(one.get_metadata()["emulated"] == EMULATED for one in suite.get_benchmarks())


def test_instructions_are_never_called_time(tmp_path: Path) -> None:
    path = stored(yogurt_phone(accelerator="tcg", blocks=2, clock="instructions"), tmp_path)
    report.make(path)
    assert "guest instructions" in (path / "charts" / "level-sockperf.svg").read_text()
    page = (path / "report.html").read_text()
    assert not re.search(r"\d [µnm]s\b|bit/s|packets/s", page)


def test_numbers_are_read_by_people() -> None:
    assert (
        format_number(9064, "ns") == "9.06 µs" and format_number(2.2e10, "bit/s") == "22.0 Gbit/s"
    )
    assert (
        format_number(28113, "instructions") == "28\u202f113 guest instructions"
        and format_number(0, "ratio") == "0 ratio"
    )
    assert (
        format_change(0.88) == "−12.0 %"
        and format_change(1.0) == "±0.0 %"
        and format_change(float("nan")) == "–"
    )


def test_wires_of_the_same_name_are_distinguished_by_what_differs() -> None:
    cells = [
        cell(primary="pass"),
        cell(primary="guard_cb"),
        cell("veth", "none", "none"),
        cell(payload=1400),
    ]
    names = {wire.name for wire in wire_names(cells, {cells[2].wire_id}).values()}
    assert names == {
        "netkit l3 · netkit_peer → redirect (primary pass)",
        "netkit l3 · netkit_peer → redirect (primary guard_cb)",
        "veth direct",
    }
    said = traffic_names({"a": cell(ip=4), "b": cell(ip=6, payload=1400)})
    assert said == {"a": "64 B, ip 4", "b": "1\u202f400 B, ip 6"}


def test_a_wire_keeps_its_colour_in_every_chart(folder: Path) -> None:
    colours = {wire.colour for wire in RunData.read(folder).wires.values()}
    assert len(colours) == len(EFFECTS) + 2  # the dead one and the baseline
    effect = (folder / "charts" / "effect-sockperf.svg").read_text()
    level = (folder / "charts" / "level-sockperf.svg").read_text()
    best = next(
        wire.colour
        for wire in RunData.read(folder).wires.values()
        if wire.name.endswith("netkit_peer → redirect")
    )
    assert best in effect and best in level


# --- the page -------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_asks_nobody_for_anything(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    for tag, attributes in Tags(page).found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert "src" not in attributes
        assert all(
            value is None or value.startswith("#")
            for key, value in attributes.items()
            if key.endswith("href")
        )
    assert "@import" not in page and "url(http" not in page


def test_charts_are_well_formed_and_hover_tells_where_packets_die(folder: Path) -> None:
    for chart in (folder / "charts").glob("*.svg"):
        ElementTree.fromstring(chart.read_text())
    assert (
        "dies at netkit_xmit:NOT_SPECIFIED"
        in (folder / "charts" / "truth-netkit-l3.svg").read_text()
    )


def evil_run() -> tuple[Invented, list[Attempt]]:
    """Every text that comes from YAML or a tool is hostile."""
    bad = cell(helper=EVIL, program=EVIL)
    gone, alive = cell(load="reachability"), cell(helper=EVIL, program=EVIL, load="reachability")
    run = Invented((cell(), bad, gone, alive), blocks=6, name="evil", question=EVIL, kernel=EVIL)
    way = {
        "path": ["queue yg1-cont", f"program {EVIL} of yg1-host: {EVIL}", f"receive {EVIL}", EVIL]
    }
    run = replace(
        run, failing={bad.id: EVIL}, dead=frozenset({gone.id}), details={"reachability": way}
    )
    return run, list(run.attempts())


def test_what_others_wrote_stays_text(tmp_path: Path) -> None:
    run, attempts = evil_run()
    plan = replace(run.plan(), name="evil " + EVIL, path=EVIL)
    where = replace(environment(run), identity={EVIL: EVIL}, reasons={"lab": EVIL})
    with run_folder.StoredRun.create(tmp_path, "evil", EVIL, plan, where) as folder:
        for attempt in attempts:
            folder.append(attempt)
    report.make(folder.path)
    page = (folder.path / "report.html").read_text()
    tags = Tags(page).found
    assert [tag for tag, _ in tags].count("script") == 2 and "img" not in [tag for tag, _ in tags]
    assert not any(key.startswith("on") for _, attributes in tags for key in attributes)
    assert "49|" not in page
    markdown = (folder.path / "report.md").read_text()
    assert (
        "<script" not in re.sub(r"\\<|`[^`]*`", "", markdown) and len(markdown.splitlines()) <= 40
    )
    for chart in (folder.path / "charts").glob("*.svg"):
        ElementTree.fromstring(chart.read_text())


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}]
)
def test_in_a_browser_it_is_quiet_and_fits(
    chromium: Any, folder: Path, options: dict[str, Any]
) -> None:
    page, trouble = opened(chromium, folder / "report.html", **options)
    assert not trouble
    assert page.locator("figure svg").count() >= 6 and page.locator("figure svg").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_trials_sort_and_filter(chromium: Any, folder: Path) -> None:
    page, trouble = opened(chromium, folder / "report.html")
    table = page.locator("#trials .grid")
    rows = table.locator("tbody tr")
    assert rows.count() == 25
    page.fill("#trials-filter", "iperf3_tcp netkit_peer skipped")
    assert rows.count() == 0
    page.fill("#trials-filter", "sockperf redirect_peer netkit_peer")
    assert rows.count() == 24
    head = table.get_by_role("button", name="value")
    head.focus()
    page.keyboard.press("Enter")
    values = [
        float(text.split()[0]) for text in table.locator("tbody td:nth-child(8)").all_inner_texts()
    ]
    assert values == sorted(values)
    page.keyboard.press("Enter")
    assert table.locator("th[aria-sort=descending]").count() == 1
    page.fill("#trials-filter", "")
    table.get_by_label("load").select_option("iperf3_udp")
    assert set(table.locator("tbody td:nth-child(5)").all_inner_texts()) == {"iperf3_udp"}
    table.get_by_label("load").select_option("")
    table.get_by_role("button", name="Show more").click()
    assert rows.count() > 500 and not trouble


def test_comparisons_name_what_they_are_held_against_and_can_be_chosen_by_verdict(
    chromium: Any, folder: Path
) -> None:
    page, trouble = opened(chromium, folder / "report.html")
    table = page.locator("#comparisons .grid")
    table.get_by_label("verdict").select_option("faster")
    assert set(table.locator("tbody td:nth-child(2)").all_inner_texts()) == {"veth direct"}
    assert (
        all("▲ faster" in text for text in table.locator("tbody tr").all_inner_texts())
        and not trouble
    )


def test_hostile_text_does_nothing_in_a_browser(chromium: Any, tmp_path: Path) -> None:
    run, attempts = evil_run()
    with run_folder.StoredRun.create(
        tmp_path, "evil", EVIL, run.plan(), environment(run)
    ) as folder:
        for attempt in attempts:
            folder.append(attempt)
    report.make(folder.path)
    page, trouble = opened(chromium, folder.path / "report.html")
    page.fill("#trials-filter", "alert")
    assert page.locator("#trials-table tbody tr").count() and not trouble
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert (
        page.locator("#ways text", has_text="<img src=x onerror=alert(2)>").count() and not trouble
    )


# --- pyperf ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "stats", "hist", "dump", "metadata"])
def test_pyperf_reads_its_file(folder: Path, command: str) -> None:
    argv = [sys.executable, "-m", "pyperf", command, str(folder / "pyperf.json")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "netkit_peer" in done.stdout, done.stderr


def test_pyperf_has_seconds_that_grow_with_slowness(folder: Path) -> None:
    suite = pyperf.BenchmarkSuite.load(str(folder / "pyperf.json"))
    one = suite.get_benchmark("iperf3_tcp, throughput, veth direct (baseline), 1 400 B")
    assert one.get_nvalue() == 12 and one.median() == pytest.approx(8 / 2.2e10, rel=0.1)
    said = one.get_metadata()
    assert (
        said["meaning"] == "seconds per byte"
        and said["device"] == "veth"
        and said["payload"] == 1400
    )
    latency = suite.get_benchmark("sockperf, rtt_p50, veth direct (baseline), 64 B")
    assert (
        latency.median() == pytest.approx(9e-6, rel=0.1) and latency.get_metadata()["loss"] == 0.0
    )
    words = suite.get_benchmark("reachability, trials, netkit l3 · tcx_ingress → redirect_peer")
    assert words.get_metadata()["dropped_at"] == "netkit_xmit:NOT_SPECIFIED"


def test_the_verdicts_of_the_page_are_those_of_the_csv(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert len(data["grids"]["trials"]["rows"]) == len(run_folder.load(folder)[0])
