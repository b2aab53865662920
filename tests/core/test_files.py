"""Files where people name them: nothing of theirs is overwritten.

A machine that refuses is told in one sentence.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runner import Said
from fake_runs import Invented, cell, stored
from private_mounts import with_private_mounts

from yogurtbench.core import files, leftovers, paths
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.results import run_folder
from yogurtbench.runner import pcap

DIRECT = textwrap.dedent("""\
    name: direct
    axes: {device: veth, topology: direct, hook: none, helper: none}
    loads: [{kind: ping, count: 3, interval: 2ms, timeout: 5s}]
    blocks: {min: 8, max: 8}
""")
YB = [sys.executable, "-P", "-m", "yogurtbench"]
WIRE, REACH = cell(), cell(load="reachability")


@pytest.fixture
def run(here: Path) -> Path:
    """A stored run with a baseline."""
    return stored(Invented((REACH, WIRE), blocks=12), here / "results")


# -- what is overwritten ---------------------------------------------------------------------------


def outputs(run: Path) -> dict[str, list[str]]:
    """Every command that writes a file somebody names, the name left out."""
    return {
        "baseline": ["baseline", str(run), "--out"],
        "compare": ["compare", str(run), str(run), "--out"],
        "which-wire": ["report", str(run), "--which-wire"],
    }


@pytest.mark.parametrize("what", ["baseline", "compare", "which-wire"])
def test_only_a_file_of_our_own_is_overwritten(
    run: Path, call: Callable[..., Said], what: str
) -> None:
    argv = outputs(run)[what]
    Path("made").mkdir()
    assert call(*argv, "made/new/ours").code == 0
    ours = Path("made/new/ours").read_bytes()
    assert call(*argv, "made/new/ours").code == 0
    assert Path("made/new/ours").read_bytes() == ours
    for foreign in (
        b"precious",
        b"",
        b'{"benchmarks": []}',
        b"# Which wire?\n",
        b"<!doctype html>\n",
        bytes(range(256)),
    ):
        Path("theirs").write_bytes(foreign)
        Path("link").unlink(missing_ok=True)
        Path("link").symlink_to("theirs")
        for name in ("theirs", "link"):
            said = call(*argv, name)
            assert said.code == 2 and said.err.startswith(
                f"yogurtbench: {name}: is there already and is not "
            )
            assert said.out == "" and said.err.count("\n") == 1
            assert Path("theirs").read_bytes() == foreign
    assert sorted(path.name for path in Path().iterdir()) == ["link", "made", "results", "theirs"]


@pytest.mark.parametrize("what", ["baseline", "compare", "which-wire"])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", "cannot be written (Is a directory)"),
        ("/dev/null", "a device or a pipe"),
        ("pipe", "a device or a pipe"),
        ("loop", "Too many levels of symbolic links"),
        ("a" * 300, "File name too long"),
        ("file/below", "Not a directory"),
    ],
)
def test_what_is_no_file_is_refused(
    run: Path, call: Callable[..., Said], what: str, name: str, sentence: str
) -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("file").write_text("")
    said = call(*outputs(run)[what], name)
    assert said.code == 2 and sentence in said.err and said.out == "" and said.err.count("\n") == 1


def test_a_link_to_a_baseline_stays_a_link(run: Path, call: Callable[..., Said]) -> None:
    Path("kept").mkdir()
    Path("link.json").symlink_to("kept/ours.json")
    for _ in range(2):
        assert call("baseline", run, "--out", "link.json").code == 0
        assert Path("link.json").is_symlink() and Path("kept/ours.json").is_file()
    assert call("check", run, "--baseline", "link.json").code == 0


def test_a_capture_overwrites_captures_of_ours_alone(here: Path) -> None:
    target = here / "x.pcapng"
    tap = {"namespace": "yogurt-1", "device": "yg1-cont", "frames": [(1, True, "AAAA")]}
    pcap.check(target)
    pcap.write(target, [{"taps": [tap]}])
    pcap.check(target)
    for foreign in (b"precious yogurtbench", b"\x0a\x0d\x0d\x0a" + b"tcpdump" * 99):
        target.write_bytes(foreign)
        with pytest.raises(
            MatrixError, match=r"--pcap .*: is there already and is not a capture of ours"
        ):
            pcap.check(target)
        assert target.read_bytes() == foreign


def test_a_file_that_could_not_be_written_whole_is_as_it_was(here: Path) -> None:
    target = here / "kept"
    target.write_text("before")

    def half(part: Path) -> None:
        part.write_text("ha")
        raise OSError(errno.ENOSPC, "whatever the library says")

    with pytest.raises(HostError, match=r"kept: cannot be written \(No space left on device\)$"):
        files.replace_file(target, half)
    assert target.read_text() == "before" and [path.name for path in here.iterdir()] == ["kept"]


def test_clean_removes_nothing_but_what_we_cached(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(here))
    (here / "guest/userland").mkdir(parents=True)
    (here / ".download.part").write_text("somebody's")
    (here / "letters").mkdir()
    (here / "letters/.draft.part").write_text("somebody's")
    assert leftovers.find(everything=False) == []
    everything = leftovers.find(everything=True)
    assert list(leftovers.remove(everything, everything=True)) == [here / "guest"]
    assert sorted(path.name for path in here.iterdir()) == [".download.part", "letters"]
    assert (here / "letters/.draft.part").exists()


# -- home folders ----------------------------------------------------------------------------------


def test_a_tilde_is_a_home_in_every_path(
    run: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = run.parent.parent.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert call("baseline", run, "--out=~/b.json").code == 0
    assert call("check", run, "--baseline=~/b.json").code == 0
    assert call("compare", run, run, "--out", "~/c.html").code == 0
    assert call("report", run, "--which-wire=~/w.md").code == 0
    assert call("init", "~/m.yaml").code == 0
    assert call("plan", "~/m.yaml").code == 0
    # Matplotlib keeps a cache there
    made = sorted(path.name for path in home.iterdir() if not path.name.startswith("."))
    assert made == ["b.json", "c.html", "m.yaml", "w.md"]
    run.parent.parent.rename(home / "results")
    assert call("report", f"~/results/{run.parent.name}/{run.name}").code == 0
    assert call("history", run.parent.name, "--out=~/results").code == 0
    assert not Path("~").exists()
    monkeypatch.setenv("YOGURTBENCH_CACHE", "~/cache")
    assert paths.cache() == home / "cache"


def test_a_matrixs_files_may_lie_in_the_home(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    Path("home").mkdir()
    Path("home/bzImage").write_text("")
    Path("m.yaml").write_text("name: x\naxes: {kernel: ~/bzImage}\n")
    assert call("plan", "m.yaml").code == 0


def test_other_tildes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.expanded(Path("~root/x")) == Path("/root/x")
    assert paths.expanded(Path("~nobody-of-this-name/x")) == Path("~nobody-of-this-name/x")
    for left in ("a/~/b", "~$draft.yaml", "x~", "./~/x", ""):
        assert paths.expanded(Path(left)) == Path(left) or left == "./~/x"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999)
    with pytest.raises(MatrixError, match="no home folder is known for ~"):
        paths.expanded(Path("~/x"))


# -- what the machine refuses ----------------------------------------------------------------------


def in_namespace(script: str, *argv: str, cwd: Path) -> Said:
    """A script with mounts of its own, then a command line."""
    done = subprocess.run(
        [*with_private_mounts(f'{script}\nexec "$@"'), *YB, *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.root
def test_a_disk_that_fills_up_keeps_what_was_measured_and_says_how_to_go_on(here: Path) -> None:
    Path("m.yaml").write_text(DIRECT)
    Path("full").mkdir()
    Path("kept").mkdir()
    script = "mount -t tmpfs -o size=24k tmpfs full"
    keep = 'trap "cp -r full/. kept" EXIT; "$@" || code=$?; exit ${code:-0}; true '
    said = in_namespace(
        f"{script}\n{keep}", "run", "m.yaml", "--lab", "native", "--out", "full", cwd=here
    )
    assert said.code == 3 and "Traceback" not in said.err
    (run,) = Path("kept").glob("*/*")
    name = f"full/direct/{run.name}"
    assert (
        f"yogurtbench: {name}/trials.jsonl: cannot be written (No space left on device)" in said.err
    )
    assert f"what was measured until then is kept, go on with --resume {name}" in said.err
    assert f"yogurtbench report {name} makes the report" in said.err
    assert "veth direct was measured with" in said.out
    assert 1 <= len(list(run_folder.read_attempts(run))) < 8
    assert (run / "trials.jsonl").read_bytes().endswith(b"}\n")
    resumed = subprocess.run(
        [*YB, "run", "m.yaml", "--lab", "native", "--resume", run], cwd=here, check=False
    )
    assert resumed.returncode == 0 and len(list(run_folder.read_attempts(run))) == 8


@pytest.mark.root
def test_a_limit_of_file_sizes_is_a_full_disk_too(here: Path) -> None:
    Path("m.yaml").write_text(DIRECT)
    said = in_namespace("ulimit -f 10", "run", "m.yaml", "--lab", "native", cwd=here)
    (run,) = Path("results").glob("*/*")
    assert said.code == 3 and "cannot be written (File too large)" in said.err
    assert f"--resume results/direct/{run.name}" in said.err
    assert list(run_folder.read_attempts(run))


@pytest.mark.root
def test_a_disk_with_room_for_nothing_is_reported_before_anything_runs(here: Path) -> None:
    Path("m.yaml").write_text(DIRECT)
    Path("full").mkdir()
    script = "mount -t tmpfs -o size=8k tmpfs full; head -c 8192 /dev/zero > full/x"
    said = in_namespace(
        script, "run", "m.yaml", "--lab", "native", "--out", "full", "--quiet", cwd=here
    )
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    assert "No space left on device); choose another folder with --out" in said.err


READ_ONLY = "mount --bind results results; mount -o remount,ro,bind results"


@pytest.mark.root
@pytest.mark.parametrize(
    ("argv", "told", "code"),
    [
        (["history", "{name}"], "history.html", 0),
        (["history", "{name}", "--json"], "history.html", 0),
        (["report", "{run}"], "observations.parquet", 3),
        (["baseline", "{run}", "--out", "{run}/b.json"], "b.json", 3),
        (["compare", "{run}", "{run}", "--out", "{run}/c.html"], "c.html", 3),
        (["report", "{run}", "--which-wire", "{run}/w.md"], "observations.parquet", 3),
        (["init", "results/m.yaml"], "m.yaml", 3),
    ],
)
def test_a_read_only_folder_is_reported_and_the_result_all_the_same(
    run: Path, argv: list[str], told: str, code: int
) -> None:
    base = run.parent.parent.parent
    place = run.relative_to(base)
    filled = [one.format(run=place, name=place.parent.name) for one in argv]
    said = in_namespace(READ_ONLY, *filled, cwd=base)
    assert said.code == code, said.err
    assert (
        said.err.count("\n") == 1
        and f"{told}: cannot be written (Read-only file system)" in said.err
    )
    assert bool(said.out) == (argv[0] in ("history", "report", "compare"))
    if "--json" in argv:
        assert json.loads(said.out)["runs"] == [run.name]


@pytest.mark.root
def test_a_run_of_another_user_is_reported_and_its_result_all_the_same(
    nobodys_python: list[str], everybodys: Path
) -> None:
    run = stored(replace(Invented((REACH, WIRE)), blocks=12), everybodys / "results")
    for argv, code in ((["history", run.parent.name], 0), (["report", run], 3)):
        asked = [*nobodys_python, "-m", "yogurtbench", *map(str, argv)]
        done = subprocess.run(
            asked, cwd=everybodys, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stderr
        assert "cannot be written (Permission denied)" in done.stderr and done.stdout


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EFBIG]
)
def test_an_attempt_that_cannot_be_kept_is_one_sentence_and_leaves_no_half_line(
    number: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stored(Invented((REACH, WIRE), blocks=2), here)
    before = (folder / "trials.jsonl").read_bytes()
    attempt = next(iter(run_folder.read_attempts(folder)))
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) > 10 and data.startswith(b"{"):
            return real(descriptor, data[:10])
        raise OSError(number, os.strerror(number))

    with run_folder.StoredRun.resume(folder) as run:
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(
            HostError, match=rf"\({os.strerror(number)}\); .*go on with --resume {folder}"
        ):
            run.append(attempt)
        monkeypatch.undo()
    assert (folder / "trials.jsonl").read_bytes() == before


def test_a_run_that_cannot_be_read_is_reported_once(run: Path, call: Callable[..., Said]) -> None:
    (run / "trials.jsonl").unlink()
    (run / "trials.jsonl").symlink_to("/proc/self/mem")
    said = call("report", run)
    assert said.code == 2 and said.out == "" and said.err.count("\n") == 1
    assert "trials.jsonl: a symbolic link" in said.err


# -- the cache -------------------------------------------------------------------------------------


def test_a_cache_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "open/cache"
    folder.mkdir(parents=True)
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(folder))
    assert paths.private_cache() == folder
    folder.chmod(0o777)
    with pytest.raises(HostError, match=r"cache can be written by everybody \(mode 777\)"):
        paths.private_cache()
    folder.chmod(0o755)
    folder.parent.chmod(0o777)
    with pytest.raises(HostError, match="open can be written by everybody"):
        paths.private_cache()
    folder.parent.chmod(0o1777)  # as /tmp: nobody can move what is another's
    assert paths.private_cache() == folder
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "link"))
    folder.chmod(0o707)
    with pytest.raises(HostError, match="cache can be written by everybody"):
        paths.private_cache()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_a_cache_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path))
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(HostError, match=r"belongs to another user \(uid 12345\)"):
        paths.private_cache()
    monkeypatch.setenv("SUDO_UID", "12345")
    assert paths.private_cache() == tmp_path
