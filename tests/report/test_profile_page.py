"""The page of a profile in a real browser, and its lines on a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browser import opened
from recordings import profile

from yogurtbench.core.errors import MatrixError
from yogurtbench.report.export import profile_catalogue
from yogurtbench.report.export.profile_catalogue import ProfiledWire
from yogurtbench.report.pages import profile as page
from yogurtbench.report.sections.profile import answer
from yogurtbench.report.terminal import profile as terminal

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def differential(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "profile.html"
    file.write_text(page.render(profile("redirect"), profile("redirect_peer")))
    return file


def test_bars_are_as_wide_as_their_instructions(chromium: Any, differential: Path) -> None:
    shown, trouble = opened(chromium, differential)
    bars = shown.evaluate(
        """() => [...document.querySelectorAll(".flames button")].map(
          each => [each.node.name, each.node.counts, each.getBoundingClientRect().width])"""
    )
    whole, *_ = bars
    assert whole[0] == "all" and whole[1] == [27992, 27164]
    for _, (here, _), width in bars:
        assert width == pytest.approx(whole[2] * here / 27992, abs=1.0)
    assert not trouble


def test_a_click_enlarges_and_all_is_shown_again(chromium: Any, differential: Path) -> None:
    shown, trouble = opened(chromium, differential)
    bar = shown.locator(".flames button", has_text=re.compile(r"^udp_sendmsg$")).first
    before = bar.bounding_box()["width"]
    bar.click()
    assert bar.bounding_box()["width"] > 2 * before
    assert "udp_sendmsg: " in shown.inner_text(".detail")
    shown.get_by_text("show all").click()
    assert bar.bounding_box()["width"] == pytest.approx(before, abs=1.0)
    assert not trouble


def test_a_search_marks_and_sums(chromium: Any, differential: Path) -> None:
    shown, trouble = opened(chromium, differential)
    shown.fill("input[type=search]", "netkit_xmit")
    inclusive = {one.function.name: one.inclusive for one in profile("redirect").functions}
    share = 100 * inclusive["netkit_xmit"] / 27992
    assert shown.inner_text(".found") == f"{share:.1f} % of the instructions"
    marked = shown.locator(".flames button.hit")
    assert marked.count() >= 2 and not trouble
    shown.fill("input[type=search]", "")
    assert marked.count() == 0 and shown.inner_text(".found") == ""


def test_widths_of_either_side(chromium: Any, differential: Path) -> None:
    shown, trouble = opened(chromium, differential)
    bars = shown.locator(".flames button[aria-label^='bpf_prog_redirect_peer_forward: ']")
    assert bars.count() == 0
    shown.get_by_text("widths of netkit l3 · tcx_ingress → redirect_peer").click()
    assert bars.count() == 1 and not trouble


def test_the_tables_sum_up_without_a_script(differential: Path) -> None:
    text = differential.read_text()
    assert "<code>netkit_xmit</code>" in text and "+294" in text and "−346" in text
    assert "+828" in text


def test_names_are_only_text(tmp_path: Path, chromium: Any) -> None:
    made = page.render(profile("redirect"), None)
    hostile = made.replace(
        "bpf_prog_redirect_forward", "\\u003c/script\\u003e\\u003cimg src=x\\u003e"
    )
    (tmp_path / "p.html").write_text(hostile)
    shown, trouble = opened(chromium, tmp_path / "p.html")
    assert shown.locator("img").count() == 0 and not trouble


def test_the_terminal_has_the_twenty_that_matter() -> None:
    one, other = profile("redirect"), profile("redirect_peer")
    lines = [str(line) for line in terminal.costs(one)]
    assert re.match(r"fib_table_lookup +kernel +872 ", lines[1])
    assert len(lines) == 22 and lines[-1].startswith("… and ")
    assert str(terminal.changes(one, other)[1]).startswith("__netif_receive_skb_core ")
    assert terminal.changes(one, one) == []


def test_the_answer() -> None:
    one, other = profile("redirect"), profile("redirect_peer")
    assert answer(one, other).endswith(
        "828 more than over netkit l3 · tcx_ingress → redirect_peer: __netif_receive_skb_core "
        "−346, netkit_xmit +294, __dev_queue_xmit +206."
    )
    assert answer(one, one).endswith("every function takes as many.")
    assert "27\u202f992 guest instructions; the costliest" in answer(one, None)


def test_the_page_of_all_wires_has_ten_functions_each_and_what_differs(tmp_path: Path) -> None:
    cheap, dear = profile("redirect_peer"), profile("redirect")
    file = tmp_path / "page.md"
    wires = [ProfiledWire(cheap, None), ProfiledWire(dear, cheap)]
    profile_catalogue.check(file)
    profile_catalogue.write(wires, "yogurtbench profile m.yaml --page page.md", file)
    text = file.read_text()
    first, second = text.split("\n## ")[1:]
    assert first.startswith(f"{cheap.name}\n") and second.startswith(f"{dear.name}\n")
    assert sum(line.startswith("| `") for line in first.splitlines()) == 10
    assert "| `netkit_xmit` | kernel | 650 | 2\u202f424 | +294 |" in second
    assert f"What differs most from {cheap.name}: `__netif_receive_skb_core` −346, " in second
    assert "`yogurtbench profile m.yaml --page page.md`" in text
    profile_catalogue.check(file)  # its own it may overwrite
    file.write_text("# Mine\n")
    with pytest.raises(MatrixError, match="is not such a page of profiles"):
        profile_catalogue.check(file)
