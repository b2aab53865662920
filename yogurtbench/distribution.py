"""The machine's Linux distribution: the exact command that installs what is missing."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping

_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
#: Fedora's names for Debian's packages, where we are sure; a package that is not here has no command there.
_FEDORA = {
    "iperf3": "iperf3",
    "iproute2": "iproute",
    "iputils-ping": "iputils",
    "kernel-headers": "kernel-devel",
    "mount": "util-linux",
    "python3-bpfcc": "python3-bcc",
    "qemu-system-x86": "qemu-system-x86",
    "sockperf": "sockperf",
    "uidmap": "shadow-utils",
    "util-linux": "util-linux",
}


def family(release: Mapping[str, str]) -> str:
    """``debian``, ``ubuntu``, ``fedora`` or the ID itself, from the fields of os-release(5)."""
    words = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((word for word in words if word in ("ubuntu", "debian", "fedora")), words[0])


def install(package: str, release: Mapping[str, str] | None = None) -> str:
    """The command that installs a package, by Debian's name or ``kernel-headers``; empty where we do not know it."""
    which = family(release if release is not None else _release())
    if which in ("debian", "ubuntu"):
        return as_root(["apt-get", "install", "--no-install-recommends", _debian(package, which)])
    if which == "fedora" and package in _FEDORA:
        return as_root(["dnf", "install", _FEDORA[package]])
    return ""


def as_root(argv: list[str]) -> str:
    """A command line that needs root, with sudo in front where we are somebody else."""
    return shlex.join(argv if os.geteuid() == 0 else ["sudo", *argv])


def _debian(package: str, which: str) -> str:
    if package != "kernel-headers":
        return package
    flavour = _DEBIAN_ARCHITECTURES.get(platform.machine(), platform.machine())
    return "linux-headers-generic" if which == "ubuntu" else f"linux-headers-{flavour}"


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
