"""Builds the wheel, installs it into an environment of its own and uses it from an empty folder
(tests/cli/test_wheel.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HOME = Path(__file__).parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command = installed(folder, built(folder))
        empty = folder / "empty"
        empty.mkdir()
        uses(command, empty)
    print("the wheel works from an empty folder")


def built(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(HOME)], check=True)
    (wheel,) = folder.glob("yogurtbench-*.whl")
    return wheel


def installed(folder: Path, wheel: Path) -> Path:
    """The command of a fresh environment that sees the system's packages (for bcc) and this one's
    dependencies.
    """
    venv = folder / "venv"
    subprocess.run(
        ["/usr/bin/python3", "-m", "venv", "--system-site-packages", str(venv)], check=True
    )
    (site,) = venv.glob("lib/python3*/site-packages")
    # The dependencies are those that the tests run with; an editable install of ours among them
    # must not win.
    (site / "dependencies.pth").write_text(
        f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
    )
    pip = [
        str(venv / "bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    return venv / "bin/yogurtbench"


def uses(command: Path, empty: Path) -> None:
    def run(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": ""}
        done = subprocess.run(
            [str(command), *arguments],
            cwd=empty,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    where = "import yogurtbench; print(yogurtbench.__file__)"
    python = command.parent / "python"
    found = subprocess.run(
        [str(python), "-P", "-c", where], cwd=empty, capture_output=True, text=True, check=True
    )
    assert str(command.parent.parent) in found.stdout, found.stdout
    assert (Path(found.stdout.strip()).parent / "py.typed").is_file(), (
        "type checkers would not see our types"
    )
    assert "quickstart" in run("plan", "experiments/quickstart.yaml")
    assert Path(run("schema", "--path").strip()).is_file()
    for question in ("which-wire", "payload", "regression", "own-wire"):
        assert "next: yogurtbench plan" in run("init", "--question", question)
        run("plan", f"{question.replace('-', '_')}.yaml")
    (empty / "veth.yaml").write_text(
        "name: wheel\nlab: native\naxes: {device: veth, hook: tcx_ingress}\n"
        "baseline: {device: veth, topology: direct, hook: none, helper: none}\n"
        "loads: [reachability, {kind: ping, count: 5, interval: 10ms}]\nblocks: {min: 1, max: 1}\n"
    )
    told = run("run", "veth.yaml", "--quiet")
    (report,) = empty.glob("results/wheel/*/report.html")
    assert report.parent.name in told, told


if __name__ == "__main__":
    main()
