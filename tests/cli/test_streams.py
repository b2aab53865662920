"""The exit code is that of the result: whoever reads, in whatever encoding, and whatever the
environment says.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest
import recorded_runs

from yogurtbench.core import paths
from yogurtbench.core.records import canonical

pytestmark = pytest.mark.commands

COMMAND = [sys.executable, "-P", "-m", "yogurtbench"]
SWEEP = """
name: streams
lab: native
axes: {device: veth, topology: direct, hook: none, helper: none, payload: [64, 128, 256]}
loads: [{kind: ping, count: 3, interval: 2ms, timeout: 5s}]
blocks: {min: 2, max: 2}
"""


def doubled(old: Path, new: Path) -> None:
    """Copy a run to ``new`` with every latency of its cells doubled."""
    shutil.copytree(old, new)
    lines = [json.loads(line) for line in (old / "trials.jsonl").read_text().splitlines()]
    for row in (
        row for line in lines if line["trial"]["role"] == "cell" for row in line["observations"]
    ):
        row["value"] = row["value"] * 2 if row["metric"].startswith("rtt_") else row["value"]
    (new / "trials.jsonl").write_text("".join(f"{canonical(line)}\n" for line in lines))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, ``old``, and ``new``, in which every latency has doubled; two like them
    on the instruction clock, whose check needs no statistics and starts in half the time.
    """
    home = tmp_path_factory.mktemp("streams")
    made = recorded_runs.multiplied("yogurt_phone", home / "made", 1, 12, ("sockperf",))
    doubled(made.rename(home / "old"), home / "new")
    made = recorded_runs.multiplied("cost", home / "exact", 1, 1, ("sockperf",))
    doubled(made.rename(home / "old-exact"), home / "new-exact")
    (home / "m.yaml").write_text(SWEEP)
    subprocess.run(
        [*COMMAND, "baseline", "old-exact", "--out", "base.json"],
        cwd=home,
        check=True,
        capture_output=True,
    )
    return home


REGRESSION = ["check", "new-exact", "--baseline", "base.json"]


def code_of(folder: Path, arguments: list[str], redirections: str = "", **environment: str) -> int:
    """The exit code of a command under a shell's redirections."""
    with tempfile.NamedTemporaryFile("r") as answer:
        script = f'{{ code=0; "$@" || code=$?; echo $code > {answer.name}; }} {redirections}'
        argv = ["sh", "-c", script, "sh", *COMMAND, *arguments]
        done = subprocess.run(
            argv, cwd=folder, env={**os.environ, **environment}, capture_output=True, check=False
        )
        code = answer.read().strip()
    assert code, done
    return int(code)


STREAMS = {
    "a reader that leaves at once": "| true",
    "a reader of one line": "| head -n 1 > /dev/null",
    "a reader of standard error that leaves": "2>&1 > /dev/null | true",
    "both readers leave": "2>&1 | true",
    "a full disk": "> /dev/full",
    "a full disk for standard error": "2> /dev/full",
    "a full disk for both": "> /dev/full 2>&1",
    "standard output closed": ">&-",
    "standard error closed": "2>&-",
    "everything closed": "<&- >&- 2>&-",
    "streams the wrong way round": "> /dev/null 1< /dev/null 2< /dev/null",
}


@pytest.mark.parametrize("redirections", STREAMS.values(), ids=STREAMS)
def test_no_reader_changes_the_exit_code(folder: Path, redirections: str) -> None:
    assert code_of(folder, REGRESSION, redirections) == 1
    assert code_of(folder, [*REGRESSION, "--json"], redirections) == 1
    assert code_of(folder, ["plan", "m.yaml", "--json"], redirections) == 0


@pytest.mark.parametrize("redirections", ["| true", "> /dev/full 2>&1", ">&- 2>&-"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["report", "old"], 0),
        (["schema"], 0),
        (["--help"], 0),
        (["run", "--help"], 0),
        (["--version"], 0),
        (["plan", "nowhere.yaml"], 2),
        (["no-such-command"], 2),
        (["compare", "old", "new"], 1),
        (["history", "nowhere"], 2),
    ],
)
def test_every_command_keeps_its_exit_code(
    folder: Path, arguments: list[str], code: int, redirections: str
) -> None:
    assert code_of(folder, arguments, redirections) == code


def test_a_lost_output_is_reported_on_standard_error(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (
        0,
        "yogurtbench: standard output was lost: No space left on device\n",
    )


def test_a_pipe_that_was_made_non_blocking_gets_everything(folder: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETFL, os.O_NONBLOCK)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen([*COMMAND, "schema"], stdout=write, stderr=subprocess.PIPE) as command:
        os.close(write)
        time.sleep(1.5)
        with os.fdopen(read, "rb") as answer:
            text = answer.read()
    assert command.returncode == 0
    assert text == subprocess.run([*COMMAND, "schema"], capture_output=True, check=True).stdout


def test_a_terminal_that_hangs_up_changes_nothing(folder: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execv(COMMAND[0], [*COMMAND, *REGRESSION])
    time.sleep(0.2)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    # hung up before it could heed the signal: -SIGHUP
    assert os.waitstatus_to_exitcode(status) in (1, -1)
    leader, follower = pty.openpty()
    termios.tcgetattr(follower)
    with subprocess.Popen(
        [*COMMAND, *REGRESSION], cwd=folder, stdout=follower, stderr=follower
    ) as command:
        os.close(follower)
        os.close(leader)  # not its controlling terminal: every write says EIO
    assert command.returncode == 1


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "Latin-1": {"LC_ALL": "en_US.ISO-8859-1", "LANG": "en_US.ISO-8859-1"},
    "a locale that is not there": {"LC_ALL": "xx_YY.KOI8-R"},
    "C": {"LC_ALL": "C"},
    "POSIX without UTF-8 mode": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII for Python": {"PYTHONIOENCODING": "ascii:strict"},
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "no asserts, no docstrings": {"PYTHONOPTIMIZE": "2"},
    "no columns": {"COLUMNS": "0", "LINES": "0"},
    "one column": {"COLUMNS": "1", "LINES": "1"},
    "columns that are no number": {"COLUMNS": "abc", "LINES": "-3"},
    "digits that are no number": {"COLUMNS": "²"},
    "columns without end": {"COLUMNS": "99999999999999999999"},
    "a dumb terminal": {"TERM": "dumb", "FORCE_COLOR": "1"},
    "no colour": {"NO_COLOR": "1", "TERM": ""},
    "a notebook's backend": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "a backend that is none": {"MPLBACKEND": "nonsense"},
    "a display's backend": {"MPLBACKEND": "TkAgg"},
    "no home": {
        "HOME": "/nonexistent",
        "MPLCONFIGDIR": "/proc/none",
        "XDG_CACHE_HOME": "/proc/none",
    },
    "no temporary folder": {"TMPDIR": "/nonexistent"},
    "numbers that are none": {
        "OMP_NUM_THREADS": "x",
        "NUMEXPR_MAX_THREADS": "x",
        "SOURCE_DATE_EPOCH": "x",
        "PANDAS_COPY_ON_WRITE": "x",
        "TERMINAL_WIDTH": "x",
        "TYPER_USE_RICH": "x",
    },
    "an odd zone": {"TZ": ":none/such"},
    "development mode": {"PYTHONDEVMODE": "1", "PYTHONTRACEMALLOC": "1"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_no_environment_changes_the_exit_code(folder: Path, name: str) -> None:
    assert code_of(folder, ["compare", "old", "new", "--out", "c.html"], **ENVIRONMENTS[name]) == 1


#: What a report needs and a comparison does not: files in more places, times, numbers of threads.
OF_A_REPORT = [
    "no home",
    "no temporary folder",
    "numbers that are none",
    "an odd zone",
    "warnings are errors",
    "Latin-1",
]


@pytest.mark.parametrize("name", OF_A_REPORT)
def test_a_report_is_written_in_any_environment(folder: Path, name: str) -> None:
    assert code_of(folder, ["report", "old"], **ENVIRONMENTS[name]) == 0


def drawn(folder: Path) -> dict[str, bytes]:
    """The charts of a run, as they are now."""
    return {path.name: path.read_bytes() for path in (folder / "old/charts").iterdir()}


@pytest.fixture(scope="module")
def charts(folder: Path) -> dict[str, bytes]:
    """The charts of a run, drawn without settings."""
    assert code_of(folder, ["report", "old"]) == 0
    return drawn(folder)


@pytest.mark.parametrize(
    "settings",
    [
        b"backend: TkAgg\ntext.usetex: True\nfont.size: 40\nsvg.fonttype: path\n",
        b"\xff\x00\xfe",
        b"a: b: c\n",
    ],
)
def test_nobodys_matplotlib_settings_reach_a_chart(
    folder: Path, tmp_path: Path, charts: dict[str, bytes], settings: bytes
) -> None:
    assert charts
    (tmp_path / "stylelib").mkdir()
    for file in (
        folder / "matplotlibrc",
        tmp_path / "matplotlibrc",
        tmp_path / "stylelib/x.mplstyle",
    ):
        file.write_bytes(settings)
    try:
        for environment in ({}, {"MATPLOTLIBRC": str(tmp_path)}, {"MPLCONFIGDIR": str(tmp_path)}):
            assert code_of(folder, ["report", "old"], **environment) == 0
            assert drawn(folder) == charts
    finally:
        (folder / "matplotlibrc").unlink()


def test_a_notebook_keeps_its_backend_and_its_settings(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 40\n")
    program = """
import sys, yogurtbench, matplotlib
run = yogurtbench.load(sys.argv[1])
figure = yogurtbench.plot.forest(run)
from yogurtbench import report
report.make(run.folder)
print(matplotlib.rcParams["font.size"], matplotlib.get_backend(), figure.axes[0].title.get_fontsize())
"""
    argv = [sys.executable, "-c", program, str(folder / "old")]
    environment = {**os.environ, "MPLBACKEND": "pdf", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    size, backend, drawn = done.stdout.split()
    assert (size, backend) == ("40.0", "pdf")
    assert float(drawn) < 20


@pytest.mark.parametrize("module", ["statistics", "typing", "pandas", "typer", "signal"])
@pytest.mark.parametrize("ending", ["raise SystemExit(0)", "import os; os._exit(0)"])
def test_modules_on_pythonpath_have_no_say(
    folder: Path, tmp_path: Path, module: str, ending: str
) -> None:
    (tmp_path / f"{module}.py").write_text(ending)
    assert code_of(folder, REGRESSION, PYTHONPATH=str(tmp_path)) == 1


def test_modules_of_the_current_folder_and_of_the_users_site_have_no_say(
    folder: Path, tmp_path: Path
) -> None:
    user = tmp_path / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    user.mkdir(parents=True)
    (user / "usercustomize.py").write_text("")
    for place in (user, folder):
        (place / "statistics.py").write_text("raise SystemExit(0)")
        (place / "pandas.py").write_text("raise SystemExit(0)")
    try:
        argv = [sys.executable, "-m", "yogurtbench", *REGRESSION]
        environment = {**os.environ, "PYTHONUSERBASE": str(tmp_path), "PYTHONPATH": ""}
        del environment["PYTHONPATH"]
        assert (
            subprocess.run(
                argv, cwd=folder, env=environment, capture_output=True, check=False
            ).returncode
            == 1
        )
    finally:
        (folder / "statistics.py").unlink()
        (folder / "pandas.py").unlink()


@pytest.mark.parametrize(
    "ending", ["SystemExit", "SystemExit(0)", "SystemExit(1)", "SystemExit('bye')", "KeyError(1)"]
)
def test_whatever_ends_an_import_of_ours_is_an_error_of_ours(tmp_path: Path, ending: str) -> None:
    """A library that gives up inside the installation itself: never 0, and never 1."""
    package = Path(__file__).parents[2] / "yogurtbench"
    copy = tmp_path / "yogurtbench"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for broken in ("cli/app.py", "matrix/planner.py", "core/output.py"):
        text = (package / broken).read_text()
        (copy / broken).write_text(f"{text}\nraise {ending}\n")
        argv = [sys.executable, "-I", str(copy / "launch.py"), "yogurtbench", "plan", "m.yaml"]
        (tmp_path / "m.yaml").write_text(SWEEP)
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 70, (broken, done)
        assert "an error of ours" in done.stderr
        (copy / broken).write_text(text)


def seconds_of(argv: list[str], where: Path) -> float:
    began = time.monotonic()
    subprocess.run(argv, cwd=where, capture_output=True, check=False)
    return time.monotonic() - began


def test_an_interrupt_while_the_command_starts_is_quiet(tmp_path: Path) -> None:
    """From where Python itself is up, which is no code of ours, to the command's end."""
    (tmp_path / "m.yaml").write_text("name: m\naxes: {hook: tcx_ingress}\nloads: [ping]\n")
    launch = Path(paths.__file__).parents[1] / "launch.py"
    argv = [sys.executable, "-I", str(launch), "yogurtbench", "plan", "m.yaml"]
    bare, whole = seconds_of([sys.executable, "-I", "-c", ""], tmp_path), seconds_of(argv, tmp_path)
    for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        with subprocess.Popen(
            argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as command:
            time.sleep(2 * bare + share * (whole - 2 * bare))
            command.send_signal(signal.SIGINT)
            _, said = command.communicate(timeout=30)
        assert command.returncode in (-signal.SIGINT, 130, 0)  # 0: it had ended
        assert "Traceback" not in said and "KeyboardInterrupt" not in said, share


def test_json_is_json_in_every_locale(folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "en_US.ISO-8859-1"}
    done = subprocess.run(
        [*COMMAND, "compare", "old", "new", "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
    )
    plain = subprocess.run(
        [*COMMAND, "compare", "old", "new", "--json"], cwd=folder, capture_output=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout)) == (1, json.loads(plain.stdout))


@pytest.mark.root
@pytest.mark.parametrize(
    "redirections", ["| head -n 1", "2>&1 | head -n 1", "2>&1 | true", "> /dev/full 2>&1"]
)
def test_a_run_goes_on_to_its_end_and_is_reported_without_a_reader(
    tmp_path: Path, redirections: str
) -> None:
    (tmp_path / "m.yaml").write_text(SWEEP)
    assert code_of(tmp_path, ["run", "m.yaml"], redirections) == 0
    (run,) = tmp_path.glob("results/streams/*")
    statuses = [
        json.loads(line)["status"] for line in (run / "trials.jsonl").read_text().splitlines()
    ]
    assert statuses.count("ok") >= 6 and set(statuses) == {"ok"}
    assert (run / "report.html").is_file() and list((run / "charts").iterdir())


@pytest.mark.root
def test_a_native_run_is_measured_by_our_own_agent_whatever_pythonpath_says(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    (hostile / "yogurtbench").mkdir(parents=True)
    for name in ("yogurtbench/__init__", "statistics", "pyroute2", "selectors"):
        (hostile / f"{name}.py").write_text("raise SystemExit(0)")
    (tmp_path / "m.yaml").write_text(SWEEP)
    launcher = [
        sys.executable,
        "-I",
        str(Path(__file__).parents[2] / "yogurtbench/launch.py"),
        "yogurtbench",
    ]
    environment = {**os.environ, "PYTHONPATH": str(hostile)}
    argv = [*launcher, "run", "m.yaml", "--quiet"]
    ended = subprocess.run(
        argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
