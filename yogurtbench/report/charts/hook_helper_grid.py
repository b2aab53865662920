"""The hook and helper grid: which pair carries packets, and where they die if not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from yogurtbench.report import settings  # isort: skip  # noqa: F401  # before Matplotlib

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yogurtbench.core.records import Cell
from yogurtbench.matrix.axes import HELPER_WORDS, HOOK_WORDS
from yogurtbench.report.charts.base import PAPER, Chart, emulation_label, slug, style, to_svg
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.reachability import answers, drop_sites, looping, reachable_shares

_COLOURS = LinearSegmentedColormap.from_list("reach", ["#e9b79d", "#f4efe6", "#86b9d8"])
#: Tiles stay light on a dark page, so what is written on them stays dark (ink would turn light).
ON_TILE = "#1b1b20"
#: What lies over a tile so that all of it tells on hover; wholly transparent, it would not be
#: drawn.
_PANE: dict[str, Any] = {"facecolor": PAPER, "alpha": 0.01, "lw": 0, "zorder": 9}
Found = dict[
    tuple[str, str], list[tuple[float, str]]
]  # (hook, helper) -> [(reachable, dropped_at)]


def draw(story: RunData) -> Iterator[Chart]:
    """Yield one chart a kind of device, where reachability was measured for more than one hook and
    helper.
    """
    for device, found in _by_device(story).items():
        if len(found) > 1:
            svg, hover = _svg(story, device, found)
            caption = (
                "Wires that answer, of those tried with this hook and helper. Hover for "
                "where packets die."
            )
            yield Chart(f"truth-{slug(device)}", "truth", device, caption, svg, hover)


def _by_device(story: RunData) -> dict[str, Found]:
    found: dict[str, Found] = {}
    shares, sites = reachable_shares(story), drop_sites(story)
    loops = looping(one for one in story.attempts if one.trial.cell.load == "reachability")
    for key, cell in story.cells.items():
        if key not in shares or cell.hook == "none":
            continue
        site = "nowhere: it loops in the kernel" if cell.wire_id in loops else sites.get(key, "")
        tiles = found.setdefault(_device(cell), {})
        tiles.setdefault((cell.hook, cell.helper), []).append((shares[key], site))
    return found


def _device(cell: Cell) -> str:
    return f"netkit {cell.mode}" if cell.device == "netkit" else cell.device


def _svg(story: RunData, device: str, found: Found) -> tuple[str, dict[str, str]]:
    hooks, helpers = (
        _ordered(HOOK_WORDS, (hook for hook, _ in found)),
        _ordered(HELPER_WORDS, (sent for _, sent in found)),
    )
    shares = np.array([[_share(found.get((hook, helper))) for helper in helpers] for hook in hooks])
    with style():
        figure = Figure(figsize=(2.4 + 0.9 * len(helpers), 1.5 + 0.34 * len(hooks)))
        axes = figure.subplots()
        sns.heatmap(
            shares,
            vmin=0,
            vmax=1,
            cmap=_COLOURS,
            cbar=False,
            linewidths=2,
            linecolor=PAPER,
            ax=axes,
            xticklabels=helpers,
            yticklabels=hooks,
        )
        hover = _annotate(axes, device, hooks, helpers, found)
        axes.set_xlabel("helper")
        axes.set_ylabel("hook")
        axes.tick_params(length=0)
        axes.set_xticklabels(helpers, rotation=25, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="y", rotation=0)
        emulation_label(figure, story.emulated)
        return to_svg(figure, hover), hover


def _ordered(known: Iterable[str], found: Iterable[str]) -> list[str]:
    """Return those found, in the order of the contract; what it does not know last."""
    words = set(found)
    return [*(word for word in known if word in words), *sorted(words.difference(known))]


def _share(entries: list[tuple[float, str]] | None) -> float:
    return float(np.mean([answers(share) for share, _ in entries])) if entries else float("nan")


def _annotate(
    axes: Axes, device: str, hooks: list[str], helpers: list[str], found: Found
) -> dict[str, str]:
    hover: dict[str, str] = {}
    for (hook, helper), entries in found.items():
        gid = slug(f"{device}-{hook}-{helper}")
        x, y = helpers.index(helper), hooks.index(hook)
        axes.text(x + 0.5, y + 0.5, _tile_text(entries), ha="center", va="center", color=ON_TILE)
        axes.add_patch(Rectangle((x, y), 1, 1, **_PANE, gid=gid))
        hover[gid] = _hover_text(hook, helper, entries)
    return hover


def _tile_text(entries: list[tuple[float, str]]) -> str:
    live = sum(answers(share) for share, _ in entries)
    mark = "" if live else "✕"
    if live == len(entries):
        mark = "✓"
    return mark if len(entries) == 1 else f"{mark} {live}/{len(entries)}".strip()


def _hover_text(hook: str, helper: str, entries: list[tuple[float, str]]) -> str:
    sites = Counter(site for _, site in entries if site)
    died = "; ".join(
        f"{site} ×{count}" if count > 1 else site for site, count in sites.most_common(3)
    )
    fate = "answers" if _share(entries) else "no answer"
    return f"{hook} → {helper}: " + (f"dies at {died}" if died else fate)
