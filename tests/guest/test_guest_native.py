"""``--lab native`` on a kernel that has netkit: the command runs inside the guest, not only its
agent.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from trials import trial

from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import accelerator, bytecode, cpio, image
from yogurtbench.hosts.vm.guest import boot_guest
from yogurtbench.hosts.vm.overlay import build_overlay

pytestmark = pytest.mark.vm

MATRIX = """
name: inside
lab: native
axes: {device: netkit, hook: [netkit_peer, tcx_ingress], helper: redirect}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [reachability, {kind: ping, count: 5, interval: 10ms}]
blocks: {min: 1, max: 1}
"""
HOME = Path(__file__).parents[2]
#: QEMU 7.2 emulates AVX with faults that numpy's vectorized sorting falls into.
SCALAR = (
    "NPY_DISABLE_CPU_FEATURES='X86_V3 X86_V4 AVX2 FMA3' OPENBLAS_CORETYPE=Nehalem "
    "ARROW_USER_SIMD_LEVEL=NONE"
)
COMMAND = (
    "cd /tmp && export PYTHONPATH=/project:/packages PYTHONDONTWRITEBYTECODE=1 "
    f"PYTHONFAULTHANDLER=1 {SCALAR} && "
    "python3 -P -m yogurtbench run /project/inside.yaml --quiet >&2 && "
    "cat results/inside/*/environment.json && cat results/inside/*/trials.jsonl"
)


#: A report takes a minute in emulation and needs no kernel: that every run makes one, on any
#: machine, other tests show. Here what makes and prints it does nothing.
WITHOUT_REPORT = {
    "yogurtbench/report/build.py": b"def write_report(_folder): return []\n",
    "yogurtbench/cli/printing.py": (HOME / "yogurtbench/cli/printing.py").read_bytes()
    + b"\n\ndef print_result(*_arguments, **_options): pass\n",
}
#: The guest's Python, and what its wheels are built for.
GUEST = (3, 13)
PLATFORMS = [f"manylinux{glibc}_x86_64" for glibc in ("2014", "_2_17", "_2_27", "_2_28", "_2_34")]


def packages(folder: Path) -> Path:
    """Every distribution that the command needs, as the guest's Python wants it."""
    argv = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--only-binary",
        ":all:",
    ]
    wanted = [
        "--python-version",
        "{}.{}".format(*GUEST),
        *(f"--platform={name}" for name in PLATFORMS),
    ]
    done = subprocess.run(
        [*argv, *wanted, "--target", str(folder), "-r", str(HOME / "requirements.lock")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(
            f"the guest's Python packages cannot be had: {done.stderr.strip().splitlines()[-1]}"
        )
    return folder


#: Imports all that a run imports, and prints the files.
IMPORTED = """
import sys
import sysconfig
import yogurtbench.cli.app, yogurtbench.runner.session
for module in list(sys.modules.values()):
    if str(path := getattr(module, "__file__", None)).endswith(".py"):
        print(path)
"""


def imported() -> set[str]:
    """The modules that a run imports, as paths below the folder that they are installed in."""
    argv = [sys.executable, "-P", "-c", IMPORTED]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(HOME)}
    paths = [Path(line) for line in done.stdout.splitlines()]
    return {
        str(path.relative_to(folder))
        for path in paths
        for folder in folders
        if path.is_relative_to(folder)
    }


def compiled(files: dict[str, bytes], compiler: Path) -> dict[str, bytes]:
    """Bytecode for the modules that a run imports, by the guest's own Python: in emulation
    compiling takes minutes.
    """
    wanted = imported()
    sources = {path: text for path, text in files.items() if path.split("/", 2)[2] in wanted}
    members = [cpio.file(path.lstrip("/"), text) for path, text in sources.items()]
    return {f"/{made.path}": made.content for made in bytecode.compile_members(members, compiler)}


#: What is large and only the report imports.
UNUSED = re.compile(
    r"((pyarrow|matplotlib|mpl_toolkits|seaborn|PIL|fontTools|kiwisolver|contourpy)(\.libs)?/"
    r"|scipy\.libs/|scipy/[a-z]\w+/)"
)


def locked(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        unwanted = {"__pycache__", "tests", "test"} & set(path.relative_to(folder).parts)
        inside = str(path.relative_to(folder))
        needed = path.suffix not in (".a", ".h", ".pyi", ".pth") and not UNUSED.match(inside)
        if path.is_file() and needed and not unwanted:
            yield f"/packages/{path.relative_to(folder)}", path.read_bytes()


def taken(folder: Path) -> Iterator[tuple[str, bytes]]:
    yield from locked(packages(folder))
    for folder, suffixes in (
        ("yogurtbench", (".py", ".html", ".css", ".js", ".json", ".txt")),
        ("bpf", (".c", ".h")),
    ):
        for path in (HOME / folder).rglob("*"):
            if path.suffix in suffixes:
                yield f"/project/{path.relative_to(HOME)}", path.read_bytes()
    yield from ((f"/project/{name}", text) for name, text in WITHOUT_REPORT.items())
    yield "/project/inside.yaml", MATRIX.encode()


def test_the_command_runs_natively_where_the_kernel_has_netkit(tmp_path: Path) -> None:
    guest_image = image.ensure(say=print)
    files = dict(taken(tmp_path))
    overlay = build_overlay(guest_image, files | compiled(files, guest_image.compiler))
    try:
        said, code = inside(guest_image, overlay)
    finally:
        overlay.unlink()
    assert code == 0, said["stderr"][-3000:]
    environment, end = json.JSONDecoder().raw_decode(said["stdout"])
    attempts = [json.loads(line) for line in said["stdout"][end:].split("\n") if line.strip()]
    assert (environment["lab"], environment["accelerator"]) == ("native", "none")
    netkit = [
        a
        for a in attempts
        if a["trial"]["cell"]["device"] == "netkit" and a["trial"]["cell"]["load"] == "ping"
    ]
    assert {a["status"] for a in attempts} == {"ok"}
    assert [
        a["details"]["counters"]["wire.forward"][0] for a in netkit if a["trial"]["role"] == "cell"
    ] == [5, 5]


def inside(guest_image: image.GuestImage, overlay: Path) -> tuple[dict[str, str], int]:
    said = {"stdout": "", "stderr": ""}
    accelerated = accelerator.probe_accelerator(guest_image, say=print).accelerator
    with boot_guest(guest_image, accelerated, overlay=overlay) as guest:
        order = trial("ping", device="veth", topology="direct", hook="none", helper="none")
        guest.channel.send({"op": "lab", "trial": order.to_json(), "argv": ["sh", "-c", COMMAND]})
        while (event := guest.channel.receive(600))["event"] != "exit":
            said[event["stream"]] += event["text"]
    if event["code"] is None:
        raise HostError(event["error"])
    return said, event["code"]
