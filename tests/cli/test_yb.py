"""yb: whose code it runs, when it makes its environment anew, and how it ends when that is not
possible.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from private_mounts import with_private_mounts

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import pip_install  # noqa: E402

pytestmark = pytest.mark.commands

#: A stand-in for the package: it tells which folder's code ran.
TELLTALE = (
    "import os, sys; print(os.path.dirname(os.path.abspath(__file__)), sys.argv[2:], "
    "sys.flags.isolated)\n"
)
#: A stand-in for pip: it notes that it ran, and does what the file "pip" beside it says.
INSTALLER = """\
import pathlib, subprocess, sys
home = pathlib.Path(__file__).parent.parent
with (home / "installed").open("a") as note:
    print(pathlib.Path(sys.argv[1]).name, file=note)
sys.exit(subprocess.run(["sh", "-c", (home / "pip").read_text()], cwd=home).returncode)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of the real yb around a package that only tells where it lies.

    Venv is real, without pip.
    """
    folder = tmp_path / "a checkout"
    for name, text in {
        "yogurtbench/launch.py": TELLTALE,
        "tools/pip_install.py": INSTALLER,
        "requirements.lock": "one==1\n",
        "requirements-dev.lock": "one==1\ntwo==2\n",
        "pip": "exit 0",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    # What the distribution has to bring is another matter; and ensurepip is most of the time that
    # venv takes.
    script = (
        (ROOT / "yb")
        .read_text()
        .replace("--system-site-packages", "--system-site-packages --without-pip")
    )
    script = script.replace("packages=$(missing_packages)", "packages=")
    (folder / "yb").write_text(script)
    (folder / "yb").chmod(0o755)
    return folder


def yb(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [str(checkout / "yb"), *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def installed(checkout: Path) -> list[str]:
    note = checkout / "installed"
    return note.read_text().split() if note.exists() else []


def ran(checkout: Path, *arguments: str) -> str:
    return f"{checkout / 'yogurtbench'} {list(arguments)} 1\n"


def test_an_environment_is_made_once(checkout: Path) -> None:
    first, second = yb(checkout, "plan", "m.yaml"), yb(checkout, "plan", "m.yaml")
    assert (first.returncode, first.stdout) == (0, ran(checkout, "plan", "m.yaml")), first.stderr
    assert "making .venv from requirements.lock (once)" in first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert installed(checkout) == ["requirements.lock"]


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_copied_or_moved_checkout_runs_its_own_code_in_its_own_environment(
    checkout: Path, tmp_path: Path, how: str
) -> None:
    yb(checkout)
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", checkout, other], check=True)
    if how == "moved":
        shutil.rmtree(checkout)
    told = yb(other)
    assert (told.returncode, told.stdout) == (0, ran(other)), told.stderr
    assert "making .venv" in told.stderr
    assert str(checkout) not in (other / ".venv/pyvenv.cfg").read_text()
    (line,) = other.glob(".venv/lib/python3*/site-packages/yogurtbench.pth")
    assert line.read_text() == f"{other}\n"


def test_a_link_to_yb_runs_the_checkout_that_it_points_at(checkout: Path, tmp_path: Path) -> None:
    link = tmp_path / "bin/yb"
    link.parent.mkdir()
    link.symlink_to(checkout / "yb")
    told = subprocess.run([link], capture_output=True, text=True, check=False, cwd="/")
    assert (told.returncode, told.stdout) == (0, ran(checkout)), told.stderr


def spoil_stamp(checkout: Path) -> None:
    (checkout / ".venv/.stamp-requirements.lock").unlink()


def spoil_requirements(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("one==2\n")


def spoil_python(checkout: Path) -> None:
    python = checkout / ".venv/bin/python3"
    python.unlink()
    python.symlink_to("/usr/bin/python3.9-gone")


def upgrade_python(checkout: Path) -> None:
    stamp = checkout / ".venv/.stamp-requirements.lock"
    folder, _python, digest = stamp.read_text().splitlines()
    stamp.write_text(f"{folder}\n/usr/bin/python3.1\n{digest}\n")


def truncate_stamp(checkout: Path) -> None:
    stamp = checkout / ".venv/.stamp-requirements.lock"
    stamp.write_text(stamp.read_text().splitlines()[0])


def remove_interpreter(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv/bin")


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_stamp,
        spoil_requirements,
        spoil_python,
        upgrade_python,
        truncate_stamp,
        remove_interpreter,
    ],
)
def test_an_environment_that_does_not_fit_is_made_anew(
    checkout: Path, spoil: Callable[[Path], None]
) -> None:
    yb(checkout)
    (checkout / ".venv/leftover").touch()
    spoil(checkout)
    told = yb(checkout)
    assert (told.returncode, told.stdout) == (0, ran(checkout)), told.stderr
    assert not (checkout / ".venv/leftover").exists()
    assert yb(checkout).stderr == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_set_up_is_made_anew(checkout: Path, number: signal.Signals) -> None:
    (checkout / "pip").write_text("touch .venv/half under-way; sleep 30")
    # Whoever runs the tests in the background may have SIGINT ignored, which a shell cannot take
    # back (POSIX, sh).
    heeding = ["env", "--default-signal=INT", checkout / "yb"]
    with subprocess.Popen(heeding, stderr=subprocess.DEVNULL, start_new_session=True) as first:
        wait_for(checkout / "under-way")
        os.killpg(first.pid, number)
        assert first.wait(10) in (130, -number)
    (checkout / "pip").write_text("exit 0")
    told = yb(checkout)
    assert (told.returncode, told.stdout) == (0, ran(checkout)), told.stderr
    assert not (checkout / ".venv/half").exists()


def test_what_a_killed_yb_left_running_is_waited_for(checkout: Path) -> None:
    (checkout / "pip").write_text("touch under-way; sleep 2; touch over")
    with subprocess.Popen(
        [checkout / "yb"], stderr=subprocess.DEVNULL, start_new_session=True
    ) as first:
        wait_for(checkout / "under-way")
        (child,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        for process in (first.pid, int(child)):  # both shells; pip lives on
            os.kill(process, signal.SIGKILL)
    (checkout / "pip").write_text("test -e over")
    told = yb(checkout)
    assert (told.returncode, told.stdout) == (0, ran(checkout)), told.stderr
    assert "another yb is making" in told.stderr


def test_two_at_once_wait_for_each_other(checkout: Path) -> None:
    (checkout / "pip").write_text("touch under-way; sleep 1")
    with subprocess.Popen(
        [checkout / "yb", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as first:
        wait_for(checkout / "under-way")
        second = yb(checkout, "2")
        assert first.stdout and first.stdout.read() == ran(checkout, "1")
    assert (first.returncode, second.returncode, second.stdout) == (0, 0, ran(checkout, "2"))
    assert "another yb is making" in second.stderr and "making .venv from" not in second.stderr
    assert installed(checkout) == ["requirements.lock"]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_a_run_does_not_hold_the_lock(checkout: Path) -> None:
    (checkout / "yogurtbench/launch.py").write_text(
        "import os; print(sorted(os.listdir('/proc/self/fd')))\n"
    )
    yb(checkout)
    (checkout / ".venv/.stamp-requirements.lock").unlink()
    assert "'9'" not in yb(checkout).stdout


@pytest.mark.parametrize("code", [1, 2, 5, 120])
def test_pip_failing_is_reported_and_never_a_regression(checkout: Path, code: int) -> None:
    (checkout / "pip").write_text(f"echo 'no route to the index' >&2; exit {code}")
    for _ in range(2):
        told = yb(checkout)
        assert (told.returncode, told.stdout) == (3, "")
        assert told.stderr.splitlines()[-2:] == [
            "no route to the index",
            "yb: pip could not install requirements.lock",
        ]
    assert len(installed(checkout)) == 2, (
        "an environment that pip did not finish was taken for a whole one"
    )


def without(checkout: Path, old: str, new: str) -> None:
    script = checkout / "yb"
    assert old in script.read_text()
    script.write_text(script.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "python=/usr/bin/python3",
            "python=/usr/bin/no-python3",
            "is missing; install Python 3.11 or newer",
        ),
        ("python=/usr/bin/python3", "python=/bin/false", "is too old, or broken"),
        ("(3, 11)", "(3, 99)", "is too old, or broken"),
        ("-m venv", "-m no_such_venv", "the virtual environment could not be made"),
        ('exec "$venv/bin/python"', "exec /no/such/python", "the set-up failed"),
    ],
)
def test_what_cannot_be_set_up_ends_with_3_and_a_sentence(
    checkout: Path, old: str, new: str, words: str
) -> None:
    without(checkout, old, new)
    told = yb(checkout)
    assert told.returncode == 3, told
    assert words in told.stderr


def test_nothing_of_pythons_environment_has_a_say(checkout: Path, tmp_path: Path) -> None:
    for name in ("sitecustomize", "sysconfig", "venv", "os", "runpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(1)\n")
    hostile = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nonexistent",
        "PYTHONHASHSEED": "x",
        "TMPDIR": "/none",
    }
    for _ in range(2):
        told = yb(checkout, **hostile)
        assert (told.returncode, told.stdout) == (0, ran(checkout)), told.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "< /", "| true",
                                    "2>&1 >/dev/null | true"])  # fmt: skip
@pytest.mark.parametrize("fresh", [True, False])
def test_its_exit_code_does_not_depend_on_the_streams(
    checkout: Path, closed: str, fresh: bool
) -> None:
    if not fresh:
        yb(checkout)
    (checkout / "yogurtbench/launch.py").write_text("raise SystemExit(4)\n")
    script = f'{{ "$1"; echo $? > code; }} {closed}'
    subprocess.run(["sh", "-c", script, "sh", checkout / "yb"], cwd=checkout, check=False)
    assert (checkout / "code").read_text() == "4\n"


@pytest.mark.root
def test_a_checkout_that_cannot_be_written_runs_where_its_environment_is_whole(
    checkout: Path,
) -> None:
    def read_only(*command: str) -> subprocess.CompletedProcess[str]:
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$1/yb"'
        argv = [*with_private_mounts(script), str(checkout)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    refused = read_only()
    assert refused.returncode == 3
    assert f"{checkout} cannot be written" in refused.stderr
    yb(checkout)
    told = read_only()
    assert (told.returncode, told.stdout, told.stderr) == (0, ran(checkout), "")


@pytest.mark.root
def test_a_full_disk_is_reported_and_the_half_made_environment_made_anew(checkout: Path) -> None:
    script = """
        mkdir "$1/.venv" && mount -t tmpfs -o size=8k,nr_inodes=20 tmpfs "$1/.venv"
        code=0; "$1/yb" || code=$?
        umount "$1/.venv"; exit $code
    """
    argv = [*with_private_mounts(script), str(checkout)]
    told = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert told.returncode == 3, told
    assert "yb: " in told.stderr
    again = yb(checkout)
    assert (again.returncode, again.stdout) == (0, ran(checkout)), again.stderr


def test_tests_add_their_tools_to_the_environment_that_is_there(checkout: Path) -> None:
    without(checkout, "-m nox", "-c 'import sys; print(sys.argv[1:])'")
    yb(checkout)
    (checkout / ".venv/kept").touch()
    told = yb(checkout, "test", "-s", "lint")
    assert (told.returncode, told.stdout) == (0, "['-s', 'lint']\n"), told.stderr
    assert (checkout / ".venv/kept").exists()
    assert yb(checkout).stderr == yb(checkout, "test").stderr == ""
    assert installed(checkout) == ["requirements.lock", "requirements-dev.lock"]


def settings(**variables: str) -> Mapping[str, str]:
    return {k: v for k, v in pip_install.environment(variables).items() if k.startswith("PIP_")}


OURS = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def test_only_where_packages_come_from_is_taken_from_pips_variables() -> None:
    asked = {
        "PIP_INDEX_URL": "https://index.invalid/simple",
        "PIP_PROXY": "http://proxy.invalid",
        "PIP_CERT": "/ca.pem",
    }
    foreign = {
        f"PIP_{name}": "1"
        for name in (
            "USER",
            "TARGET",
            "PREFIX",
            "ROOT",
            "NO_DEPS",
            "DRY_RUN",
            "REQUIRE_HASHES",
            "PYTHON",
            "NO_BINARY",
            "IGNORE_INSTALLED",
        )
    }
    empty = {
        "HOME": "/nonexistent",
        "XDG_CONFIG_DIRS": "/nonexistent",
        "PIP_CONFIG_FILE": os.devnull,
    }
    assert settings(**asked, **foreign, **empty) == {**asked, **OURS}


def test_only_where_packages_come_from_is_taken_from_pips_files(tmp_path: Path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text(
        "[global]\nuser = true\nindex_url = https://a.invalid\ntimeout = 7\n"
        "[install]\ntarget = /elsewhere\nfind-links =\n  /one\n  /two\nindex-url = https://b.invalid\n[list]\nno-index=1\n"
    )
    found = settings(HOME=str(tmp_path), PIP_TIMEOUT="9")
    assert found["PIP_INDEX_URL"] == "https://b.invalid"
    assert found["PIP_FIND_LINKS"].split() == ["/one", "/two"]
    assert found["PIP_TIMEOUT"] == "9"
    assert not {"PIP_USER", "PIP_TARGET", "PIP_NO_INDEX"} & set(found)


def test_a_file_of_pips_that_cannot_be_read_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pip.conf").write_bytes(b"\xff\x00 no ini")
    assert "PIP_TARGET" not in settings(
        HOME="/nonexistent", PIP_CONFIG_FILE=str(tmp_path / "pip.conf")
    )
    assert "passed over" in capsys.readouterr().err


@pytest.mark.root
@pytest.mark.timeout(900)
def test_a_real_checkout_sets_itself_up_whatever_pip_is_set_elsewhere(tmp_path: Path) -> None:
    copy, elsewhere = tmp_path / "a copy", tmp_path / "elsewhere"
    skipped = shutil.ignore_patterns(
        ".venv", ".git", "results", "__pycache__", ".*_cache", ".hypothesis", ".nox"
    )
    shutil.copytree(ROOT, copy, ignore=skipped)
    (copy / "yogurtbench/core/version.py").write_text(
        (ROOT / "yogurtbench/core/version.py")
        .read_text()
        .replace('__version__ = "', '__version__ = "copied-')
    )
    large = re.compile(
        r"(?m)^(pyarrow|scipy|matplotlib|fonttools|pillow|pandas|numpy|seaborn|pyperf|ruptures)==.*\n"
    )
    (copy / "requirements.lock").write_text(large.sub("", (ROOT / "requirements.lock").read_text()))
    hostile = {
        "PIP_USER": "1",
        "PIP_TARGET": str(elsewhere),
        "PIP_DRY_RUN": "1",
        "PIP_REQUIRE_HASHES": "1",
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nonexistent",
    }
    told = yb(copy, "--version", **hostile)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("yogurtbench copied-")
    assert not elsewhere.exists()
    found = subprocess.run(
        [
            copy / ".venv/bin/python",
            "-I",
            "-c",
            "import rich, typer; print(typer.__file__)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(str(copy / ".venv"))


def on_a_terminal(checkout: Path, *arguments: str, seconds: float | None = None) -> tuple[int, str]:
    """Run yb with a terminal as its standard error, for so long.

    The exit code and what the terminal got.
    """
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    argv = [checkout / "yb", *arguments]
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=theirs, env=environment, cwd=checkout
    ) as process:
        os.close(theirs)
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        code = process.wait(60)
    shown = bytearray()
    while True:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # nobody holds the terminal any more
            os.close(ours)
            return code, shown.decode()


def test_on_a_terminal_a_live_line_tells_time_spent_and_left(checkout: Path) -> None:
    (checkout / "pip").write_text("sleep 2.5")
    code, shown = on_a_terminal(checkout)
    assert code == 0
    live = [line for line in shown.split("\r") if line.startswith("\x1b[K")]
    spent = [
        int(found[1])
        for line in live
        if (found := re.search(r"\(once\): (\d+) s, about \d+ s left", line))
    ]
    first, second, third = spent[-3:]
    assert first <= 1 and first < second < third  # a busy machine may miss one
    assert "its packages: done in" in shown and shown.endswith("\n")


def test_the_live_line_ends_with_a_killed_yb(checkout: Path) -> None:
    # what a killed yb left running holds the terminal as long
    (checkout / "pip").write_text("exec sleep 9")
    code, shown = on_a_terminal(checkout, seconds=4)
    assert code == -signal.SIGKILL
    assert max(int(found) for found in re.findall(r": (\d+) s, ", shown)) <= 5


def test_elsewhere_a_step_is_a_line(checkout: Path) -> None:
    lines = yb(checkout).stderr.splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "yb: making .venv from requirements.lock (once)",
        "yb: making .venv from requirements.lock (once): its packages",
    ]
    left = [int(re.search(r"; about (\d+) s left$", line)[1]) for line in lines]  # type: ignore[index]
    assert left[0] > left[1] > 0


@pytest.mark.parametrize(
    "words",
    [
        "WARNING: Retrying after connection broken by 'NewConnectionError(...: [Errno -3] "
        "Temporary failure in name "
        "resolution)': /simple/one/",
        "ERROR: Could not install packages due to an OSError: [Errno 101] Network is unreachable",
    ],
)
def test_without_a_network_there_is_one_clear_sentence_and_nothing_half_made(
    checkout: Path, words: str
) -> None:
    (checkout / "pip").write_text(f'echo "{words}" >&2; touch .venv/half; exit 1')
    told = yb(checkout)
    assert told.returncode == 3
    assert told.stderr.splitlines()[-1].startswith(
        "yb: pip could not install requirements.lock: there is no network"
    )
    assert words not in told.stderr and not (checkout / ".venv").exists()
    (checkout / "pip").write_text("exit 0")
    assert yb(checkout).returncode == 0


@pytest.mark.root
def test_without_a_network_apt_is_set_likewise_and_what_dpkg_left_is_finished_first(
    tmp_path: Path,
) -> None:
    """Real apt, in a network namespace without a route, for a package that is not there."""
    script = (ROOT / "yb").read_text()
    functions = script[
        script.index("# What is missing here") : script.index("# Written last, into")
    ]
    say = script[script.index("say() {") : script.index("left() {")]
    program = f"""set -eu
    home="{ROOT}" venv="{tmp_path}/none"
    {say}
    {functions}
    {script[script.index("refuse() {") : script.index("# Only one yb")]}
    missing_packages() {{ echo netperf; }}
    package_of() {{ package=no-such-package-anywhere; }}
    install_packages 9< /dev/null
    """
    if shutil.which("apt-get") is None:
        pytest.skip("no apt here")
    (tmp_path / "apt.conf").write_text('Acquire::Retries "0";\n')
    argv = ["unshare", "--net", "sh", "-c", program]
    environment = {**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done
    told = done.stderr.splitlines()[-1]
    assert told.startswith("yb: these packages could not be installed: no-such-package-anywhere"), (
        told
    )
    assert "there is no network" in told
