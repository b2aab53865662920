"""The HTML report: one file, nothing fetched, all text escaped."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from yogurtbench.report import answer, cautions, counters, overhead, tables
from yogurtbench.report.charts import Chart
from yogurtbench.report.facts import reproduce, surroundings
from yogurtbench.report.story import Story


def render(story: Story, charts: list[Chart]) -> str:
    """The page as text."""
    jinja = Environment(loader=PackageLoader("yogurtbench.report"), autoescape=True, undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    jinja.filters["sign"] = tables.verdict_mark
    jinja.filters["inline"] = lambda chart: Markup(chart.inline)  # noqa: S704 - drawn here, texts escaped by matplotlib
    script, css = _asset(jinja, "page.js"), _asset(jinja, "page.css")
    return jinja.get_template("page.html").render(
        story=story, charts=charts, script=script, css=css, policy=_policy(script), **_content(story)
    )


def _content(story: Story) -> dict[str, Any]:
    return {
        "answer": answer.answer(story),
        "cautions": cautions.cautions(story),
        "surroundings": surroundings(story),
        "glance": tables.glance(story),
        "effects": tables.effects(story),
        "isolation": tables.isolation(story),
        "left_out": tables.left_out(story),
        "counters": counters.sheets(story),
        "dead": tables.dead(story),
        "failures": tables.failures(story),
        "phases": overhead.phases(story),
        "overhead_ratio": overhead.ratio(story),
        "trials": tables.trials(story),
        "reproduce": reproduce(story),
    }


def _asset(jinja: Environment, name: str) -> Markup:
    return Markup(jinja.loader.get_source(jinja, name)[0]) if jinja.loader else Markup()  # noqa: S704 - our own file


def _policy(script: str) -> str:
    """Nothing may be fetched and no script may run but ours, whatever slips into the page."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'"
    )
