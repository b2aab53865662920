"""Runs in a notebook: frames, charts as in the report, and nothing heavy before it is needed."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from fake_runs import stored, yogurt_phone
from matplotlib.figure import Figure

import yogurtbench as yb
from yogurtbench import report
from yogurtbench.analysis import comparison
from yogurtbench.core.errors import MatrixError
from yogurtbench.report import build
from yogurtbench.report.charts import base
from yogurtbench.results import run_folder

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = stored(yogurt_phone(accelerator="tcg"), tmp_path_factory.mktemp("runs"))
    report.make(path)
    return path


def test_a_loaded_run_has_the_stored_frames(folder: Path) -> None:
    run = yb.load(str(folder))
    pd.testing.assert_frame_equal(run.observations, run_folder.load(folder)[1])
    assert list(run.comparison.columns) == list(comparison.COLUMNS)
    assert len(run.comparison) == len(pd.read_csv(folder / "comparison.csv"))
    assert run.environment.accelerator == "tcg"
    assert comparison.EMULATED in run._repr_html_()
    assert folder.name in repr(run)


@pytest.mark.parametrize(
    ("draw", "file"),
    [
        (lambda run: yb.plot.forest(run, "sockperf"), "effect-sockperf"),
        (lambda run: yb.plot.levels(run, "iperf3_tcp"), "level-iperf3-tcp"),
        (lambda run: yb.plot.ecdf(run, "sockperf", "1400 B"), "ecdf-sockperf-1-400-b"),
        (lambda run: yb.plot.truth(run, "netkit l3"), "truth-netkit-l3"),
    ],
    ids=["forest", "levels", "ecdf", "truth"],
)
def test_charts_are_those_of_the_report(folder: Path, draw: object, file: str) -> None:
    figure = draw(yb.load(folder))  # type: ignore[operator]
    assert isinstance(figure, Figure)
    (hover,) = [one.hover for one in drawn(folder) if one.name == file]
    with base.style():
        again = base.to_svg(figure, hover)
    stored = (folder / "charts" / f"{file}.svg").read_text()
    assert said(again) == said(stored)
    assert drawing(again) == drawing(stored)


def drawn(folder: Path) -> list[base.Chart]:
    story = yb.load(folder).story
    return [chart for draw in build.DRAWERS for chart in draw(story)]


def said(svg: str) -> list[str]:
    return re.findall(r">([^<\s][^<]*)</", svg)


def drawing(svg: str) -> list[str]:
    """Every element and colour, place apart: a layout made a second time settles some hundredths of
    a point away.
    """
    return re.findall(r"<\w+|#[0-9a-f]{6}(?=[;\"])", svg)


def test_without_a_name_the_first_of_the_report_is_drawn(folder: Path) -> None:
    run = yb.load(folder)
    for name in ("forest", "levels", "ecdf", "truth"):
        picture = io.BytesIO()
        getattr(yb.plot, name)(run).savefig(picture, format="png")
        assert picture.getvalue().startswith(b"\x89PNG")


def test_every_chart_is_listed(folder: Path) -> None:
    run = yb.load(folder)
    listed = list(yb.plot.charts(run))
    assert len(listed) == len(list((folder / "charts").glob("*.svg")))
    assert ("forest", "sockperf") in listed
    assert ("ecdf", "sockperf", "64 B") in listed
    assert ("truth", "netkit l3") in listed


def test_what_is_not_there_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    run = yb.load(folder)
    with pytest.raises(MatrixError, match="no chart of sockprf in this run: did you mean sockperf"):
        yb.plot.forest(run, "sockprf")
    with pytest.raises(MatrixError, match="no chart of 9 B in this run"):
        yb.plot.ecdf(run, traffic="9 B")
    with pytest.raises(MatrixError, match="no such run folder"):
        yb.load(tmp_path / "nowhere")
    with pytest.raises(AttributeError):
        yb.nothing  # noqa: B018


def test_the_notebooks_own_backend_and_style_stay() -> None:
    """Charts leave no trace in matplotlib's settings, so that what people draw beside them looks as
    it did.
    """
    code = (
        "import matplotlib; matplotlib.use('agg'); before = dict(matplotlib.rcParams)\n"
        "import yogurtbench as yb; yb.plot\n"
        "assert matplotlib.get_backend() == 'agg', matplotlib.get_backend()\n"
        "assert dict(matplotlib.rcParams) == before"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, yogurtbench as yb; dir(yb); print({'numpy', 'pandas', 'matplotlib'} & "
        "set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_it_is_typed() -> None:
    """A type checker elsewhere sees our types: py.typed lies in the package, and what notebooks use
    has a type.
    """
    assert (Path(yb.__file__).parent / "py.typed").is_file()
    code = (
        "import yogurtbench as yb\nrun = "
        "yb.load('r')\nreveal_type(run.observations)\nreveal_type(yb.plot.forest(run))"
    )
    options = [
        "--config-file",
        os.devnull,
        "--follow-imports",
        "silent",
        "--ignore-missing-imports",
    ]
    argv = [sys.executable, "-m", "mypy", *options, "-c", code]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=Path(yb.__file__).parents[1]
    )
    assert '"pandas.core.frame.DataFrame"' in done.stdout, done.stdout
    assert '"matplotlib.figure.Figure"' in done.stdout, done.stdout
