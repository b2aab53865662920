"""Debian 13 as a host, the way a container has it: a root of its own, no systemd (nox -s hosts; as
root).

    python tools/hosts.py                      builds the root, runs what is checked, takes everything away again
    python tools/hosts.py --root FOLDER        the same in a root that stays, for the next time
    python tools/hosts.py -- ./yb run experiments/quickstart.yaml        runs that there instead

mmdebstrap builds the root from this machine's own apt sources, with the other release's name in
them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from yogurtbench.hosts.vm.image import apt_sources

HOME = Path(__file__).parent.parent
SUITE = "trixie"
CHECKOUT = "root/yogurtbench"
#: How this machine's programs reach the world, whatever the root is: read where they are, never
#: written down.
REACH = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/pip.conf",
    "/root/.config/pip/pip.conf",
    "/etc/ssl/certs/ca-certificates.crt",
)
#: $1: the root, $2: a folder in it; then a command. As a container runtime does it: the root is a
#: mount of its own, the machine's is gone.
ENTER = """set -eu
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
pivot_root . mnt
umount -l /mnt
cd "$2"
shift 2
exec "$@"
"""
VETH_EVERY_LOAD = """
name: hosts-veth
lab: native
axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads:
  - reachability
  - isolation
  - {kind: ping, count: 20, interval: 10ms}
  - {kind: sockperf, duration: 1s}
  - {kind: sockperf_tcp, duration: 1s}
  - {kind: netperf_tcp_rr, duration: 1s}
  - {kind: rtt_under_load, duration: 1s}
  - {kind: iperf3_tcp, duration: 1s}
  - {kind: iperf3_udp, duration: 1s}
blocks: {min: 1, max: 1}
"""
NETKIT_REACHABILITY = """
name: hosts-netkit
lab: vm
axes: {device: netkit, hook: [netkit_peer, tcx_ingress], helper: [redirect, redirect_peer]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [reachability]
blocks: {min: 1, max: 1}
"""


def main() -> None:
    options = argparse.ArgumentParser(prog="nox -s hosts --")
    options.add_argument(
        "--root", type=Path, help="build the root here, or use the one that is here, and keep it"
    )
    options.add_argument(
        "command", nargs="*", help="run this there, in a checkout, instead of what is checked"
    )
    wanted = options.parse_args()
    with ready_root(wanted.root) as root:
        check_out(root)
        if wanted.command:
            sys.exit(subprocess.run(inside(root, wanted.command), check=False).returncode)
        check(root)
    print("Debian 13 runs native veth labs and netkit in its guest")


@contextmanager
def ready_root(kept: Path | None) -> Iterator[Path]:
    """A root that reaches the world: that in a folder, built there where it is not yet, or one that
    goes with the block.
    """
    with tempfile.TemporaryDirectory(prefix="debian-13-") as scratch:
        root = kept or Path(scratch, "root")
        if not (root / "etc").is_dir():
            build(root)
        reach_the_world(root)
        yield root


def build(root: Path) -> None:
    """A minimal root of the release, its sources in the format that it ships (deb822)."""
    print(f"building a {SUITE} root in {root}", flush=True)
    found = apt_sources.machine_sources(suite=SUITE)
    transport = [f"--aptopt={option}" for option in apt_sources.transport_options()]
    options = ["--quiet", "--mode=root", "--variant=minbase", "--include=ca-certificates"]
    subprocess.run(
        ["mmdebstrap", *options, *transport, "" if found else SUITE, str(root), *found], check=True
    )
    listed = root / "etc/apt/sources.list"
    stanzas = [source.stanza for source in apt_sources.parse_one_line(listed.read_text())]
    (root / "etc/apt/sources.list.d/debian.sources").write_text("\n".join(stanzas))
    listed.unlink()


def reach_the_world(root: Path) -> None:
    """Lend the root this machine's resolver, pip settings and certificates."""
    for name in REACH:
        if Path(name).is_file():
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(name, target)


def check_out(root: Path) -> None:
    """This checkout's last commit, as a fresh clone."""
    target = root / CHECKOUT
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", str(HOME), str(target)], check=True
    )


def inside(
    root: Path, command: list[str], folder: str = f"/{CHECKOUT}", given: Sequence[str] = ()
) -> list[str]:
    """The command line that runs a command in the root's checkout, or another folder, with these
    variables.
    """
    rooms = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child=KILL",
    ]
    lent = [
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_CERT"))
    ]
    world = [
        "env",
        "-i",
        "HOME=/root",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
        *lent,
        *given,
    ]
    return [*rooms, "--", "sh", "-c", ENTER, "sh", str(root.resolve()), folder, *world, *command]


def check(root: Path) -> None:
    """Doctor, a native veth matrix with every load, netkit's reachability in the guest."""
    for name, matrix in (("veth", VETH_EVERY_LOAD), ("netkit", NETKIT_REACHABILITY)):
        (root / CHECKOUT / f"{name}.yaml").write_text(matrix)
    for command in ("./yb doctor", "./yb run veth.yaml", "./yb run netkit.yaml"):
        print(f"\n$ {command}", flush=True)
        done = subprocess.run(inside(root, command.split()), check=False)
        assert done.returncode == 0, f"{command} ended with exit code {done.returncode}"


if __name__ == "__main__":
    main()
