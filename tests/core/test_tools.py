"""Who a program of a name is: the real ones of this machine, and what others of the same name print
(recorded).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from matrices import cell

from yogurtbench.core import tools
from yogurtbench.hosts import checks, choose

BUSYBOX = "BusyBox v1.35.0 (Debian 1:1.35.0-4+deb12u1+b1) multi-call binary."

#: Program, standard output, standard error, exit code; recorded from Debian 12's packages.
OTHERS = [
    ("ping", "", f"ping: invalid option -- 'V'\n{BUSYBOX}\n\nUsage: ping [OPTIONS] HOST\n", 1),
    (
        "ping",
        "ping (GNU inetutils) 2.4\nCopyright (C) 2022 Free Software Foundation, Inc.\n",
        "",
        0,
    ),
    ("iperf3", "iperf version 2.1.8 (12 August 2022) pthreads\n", "", 1),
    ("sockperf", "", "Traceback (most recent call last):\nImportError: libc.so\n", 127),
    ("sockperf", "sockperf, version 3.7-no.git\n", "", 1),
    ("ip", f"{BUSYBOX}\n", "", 0),
    ("unshare", "", f"unshare: unrecognized option '--version'\n{BUSYBOX}\n", 1),
    ("mount", "proc on /proc type proc (rw,relatime)\n", "", 0),
    ("taskset", "", "", 0),
    ("nsenter", "toybox 0.8.9\n", "", 0),
    ("qemu-system-x86_64", "", "this QEMU emulator version is a wrapper\n", 0),
]
#: What the right ones print, in versions of several years.
RIGHT = [
    ("ping", "ping from iputils 20221126\nlibcap: yes, IDN: yes\n"),
    ("ping", "ping utility, iputils-s20180629\n"),
    ("iperf3", "iperf 3.12 (cJSON 1.7.15)\nLinux vm 6.1\n"),
    ("iperf3", "iperf 3.18 (cJSON 1.7.15)\n"),
    ("sockperf", "\nsockperf, version 3.7-no.git\n   compiled 2021-08-23 12:14:23\n"),
    ("unshare", "unshare from util-linux 2.41\n"),
    ("mount", "mount from util-linux 2.38.1 (libmount 2.38.1: selinux, smack)\n"),
    ("ip", "ip utility, iproute2-6.15.0, libbpf 1.5.0\n"),
    ("qemu-system-x86_64", "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n"),
    ("mmdebstrap", "mmdebstrap 1.5.7\n"),
]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str, int], Path]:
    """Puts a program that prints this in front of everything on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def putting(name: str, out: str, err: str, code: int) -> Path:
        (tmp_path / "out").write_text(out)
        (tmp_path / "err").write_text(err)
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/out\ncat {tmp_path}/err >&2\nexit {code}\n")
        program.chmod(0o755)
        return program

    return putting


@pytest.mark.parametrize(("name", "out", "err", "code"), OTHERS)
def test_another_program_of_the_name_is_not_it(
    put: Callable[[str, str, str, int], Path], name: str, out: str, err: str, code: int
) -> None:
    path = put(name, out, err, code)
    looked = tools.find_tools(name)
    assert looked.fault.startswith(f"{path} is not it: ") and looked.lacking.startswith(
        f"{name} of "
    )
    if BUSYBOX in f"{out}{err}":
        assert BUSYBOX in looked.fault
    if code:
        assert f"exit code {code}" in looked.fault


@pytest.mark.parametrize(("name", "out"), RIGHT)
def test_the_right_one_is_known_by_what_it_says(
    put: Callable[[str, str, str, int], Path], name: str, out: str
) -> None:
    put(name, out, "", 0)
    assert tools.find_tools(name).fault == "" and tools.find_tools(name).lacking == ""


@pytest.mark.parametrize("name", tools.TOOLS)
def test_this_machines_are_the_right_ones(name: str) -> None:
    if not shutil.which(name):
        pytest.skip(f"no {name} here")
    assert tools.find_tools(name).fault == ""


def test_one_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_PATIENCE", 0.3)
    (tmp_path / "ping").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ping").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "cannot be asked what it is: did not end within" in tools.find_tools("ping").fault


@pytest.mark.parametrize(
    ("name", "out", "err", "code"), [one for one in OTHERS if one[0] in ("ping", "iperf3", "mount")]
)
def test_doctor_and_the_choice_of_a_host_know_it_both(
    put: Callable[[str, str, str, int], Path], name: str, out: str, err: str, code: int
) -> None:
    put(name, out, err, code)
    found = {one.what: one for one in checks._tools()}
    what = "util-linux" if name == "mount" else name
    assert found[what].state == "missing" and "is not it" in found[what].detail
    package = tools.TOOLS[name].package
    assert package in found[what].mend or not found[what].mend
    load = {"ping": "ping", "iperf3": "iperf3_udp", "mount": "sockperf"}[name]
    (lacking,) = choose.missing_tools([cell(load=load, device="veth", topology="direct")])
    assert "is not it" in lacking and name in lacking


def test_what_is_not_there_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find_tools("ping").lacking == "ping, which is not installed"
    found = {one.what: one for one in checks._tools()}
    assert found["ping"].detail.startswith("no ping on PATH: iputils-ping is needed for load ping")
    assert found["util-linux"].detail.endswith("no mount on PATH: no lab at all")


def lacking_netperf(find: Callable[[str], tools.Looked], name: str) -> tools.Looked:
    if name != "netperf":
        return find(name)
    return tools.Looked(tools.TOOLS[name], "", "", "no netperf on PATH")


@pytest.mark.parametrize(("codename", "blocks"), [("bookworm", False), ("trixie", True)])
def test_a_load_whose_tool_has_no_package_here_does_not_keep_a_named_native_lab_from_starting(
    codename: str, blocks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trials will be unsupported; what can be installed is asked for beforehand."""
    release = tmp_path / "os-release"
    release.write_text(f"ID=debian\nVERSION_CODENAME={codename}\n")
    monkeypatch.setenv("YOGURTBENCH_OS_RELEASE", str(release))
    monkeypatch.setattr(tools, "find_tools", partial(lacking_netperf, tools.find_tools))
    cells = [cell(load="netperf_tcp_rr", device="veth", topology="direct")]
    assert choose.missing_tools(cells) == ["netperf, which is not installed"]
    found = choose.missing_tools(cells, only_installable=True)
    assert found == (["netperf, which is not installed"] if blocks else [])
