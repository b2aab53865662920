"""The HTML report: one file, nothing fetched, all text escaped."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import fields
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from yogurtbench.report.charts.base import Chart
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import counters, overhead, packet_path, summary, tables, warnings
from yogurtbench.report.sections.dead_wires import dead_wires, group_by_drop_site
from yogurtbench.report.sections.environment import environment_items, reproduction_steps, versions
from yogurtbench.report.sections.failures import failure_counts

#: Wires on the first screen.
_BEST = 6


def render(story: RunData, charts: list[Chart]) -> str:
    """Return the page as text."""
    return fill("page.html", story=story, charts=charts, **_content(story))


def fill(template: str, script_name: str = "page.js", **content: Any) -> str:
    """Return a page from a template, with style, a script and a strict content policy."""
    jinja = Environment(
        loader=PackageLoader("yogurtbench.report.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["drawn"] = lambda one: Markup(packet_path.symbol(one))  # noqa: S704 - drawn here, texts escaped there
    jinja.filters["inline"] = lambda chart: Markup(chart.inline)  # noqa: S704 - drawn here, texts escaped by matplotlib
    jinja.policies["json.dumps_kwargs"] = {
        "separators": (",", ":"),
        "ensure_ascii": False,
        "default": _plain,
    }
    script, css = _asset(jinja, script_name), _asset(jinja, "page.css")
    return jinja.get_template(template).render(
        script=script, css=css, policy=_policy(script), **content
    )


def _content(story: RunData) -> dict[str, Any]:
    glance, isolation, dead = (
        tables.ranking_table(story, _BEST),
        tables.isolation(story),
        dead_wires(story),
    )
    return {
        "answer": summary.summarise(story),
        "cautions": warnings.collect_warnings(story),
        "surroundings": environment_items(story),
        "glance": glance,
        "live": tables.live_wires(story) if not glance.rows else None,
        "isolation": isolation,
        "patterns": tables.group_identical(isolation),
        "left_out": tables.omitted_count(story),
        "ways": packet_path.ways(story),
        "counters": counters.counter_tables(story),
        "dead": dead,
        "deaths": group_by_drop_site(dead),
        "failures": failure_counts(story),
        "phases": overhead.phases(story),
        "overhead_ratio": overhead.ratio(story),
        "grids": {"comparisons": tables.comparisons(story), "trials": tables.trials(story)},
        "palette": tables.palette(story),
        "reproduce": reproduction_steps(story),
        "versions": versions(story),
    }


def _plain(record: Any) -> dict[str, Any]:
    """Return a dataclass as JSON writes it, without a copy of everything in it."""
    return {one.name: getattr(record, one.name) for one in fields(record)}


def _asset(jinja: Environment, name: str) -> Markup:
    return Markup(jinja.loader.get_source(jinja, name)[0]) if jinja.loader else Markup()  # noqa: S704 - our own file


def _policy(script: str) -> str:
    """Return the policy by which nothing is fetched and no script runs but ours."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "img-src data:; base-uri 'none'"
    )
