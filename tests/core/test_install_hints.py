"""What to install, in the words of five distributions: one table, and everything that says it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from yogurtbench.core import install_hints
from yogurtbench.core.errors import HostError
from yogurtbench.ebpf import headers, programs
from yogurtbench.hosts import checks, choose, requirements
from yogurtbench.hosts.vm import accelerator, qemu
from yogurtbench.hosts.vm.image import GuestImage, mmdebstrap

HOME = Path(__file__).parents[2]
#: os-release(5) as the distributions ship it, cut down to what tells them apart.
RELEASES = {
    "debian": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n',
    "ubuntu": 'PRETTY_NAME="Ubuntu 24.04.3 '
    'LTS"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n',
    "fedora": 'PRETTY_NAME="Fedora Linux 43 (Server Edition)"\nVERSION_CODENAME=""\nID=fedora\n',
    "arch": 'NAME="Arch Linux"\nPRETTY_NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n',
    "opensuse": 'PRETTY_NAME="openSUSE '
    'Tumbleweed"\nID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n',
}
#: And what derives from them.
DERIVED = {
    "ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_CODENAME=wilma\n": "ubuntu",
    "ID=raspbian\nID_LIKE=debian\n": "debian",
    'ID="rocky"\nID_LIKE="rhel centos fedora"\n': "fedora",
    'ID="rhel"\nID_LIKE="fedora"\n': "fedora",
    "ID=manjaro\nID_LIKE=arch\n": "arch",
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n': "opensuse",
    'ID="sles"\nID_LIKE="suse"\n': "opensuse",
}
COMMANDS = {
    "debian": "apt-get install",
    "ubuntu": "apt-get install",
    "fedora": "dnf install",
    "arch": "pacman -S --needed",
    "opensuse": "zypper install --no-recommends",
}
QEMU = {"fedora": "qemu-system-x86-core", "opensuse": "qemu-x86"}
HEADERS = {
    "debian": "linux-headers-amd64",
    "ubuntu": "linux-headers-generic",
    "fedora": "kernel-devel",
    "arch": "linux-headers",
    "opensuse": "kernel-default-devel",
}
BCC = {"debian": "python3-bpfcc", "ubuntu": "python3-bpfcc", "arch": "python-bcc"}


@pytest.fixture(params=RELEASES)
def family(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine whose os-release file is another distribution's."""
    return on(request.param, RELEASES[request.param], tmp_path, monkeypatch)


def on(family: str, release: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "os-release").write_text(release)
    monkeypatch.setenv("YOGURTBENCH_OS_RELEASE", str(folder / "os-release"))
    return family


def only(family: str, words: str) -> bool:
    """Whether words name this family's command and none of another."""
    return COMMANDS[family] in words and not any(
        command.split()[0] in words
        for other, command in COMMANDS.items()
        if command != COMMANDS[family]
    )


@pytest.fixture
def nothing_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("nothing_on_path")
def test_a_machine_without_qemu(family: str) -> None:
    qemu.machine_type.cache_clear()
    image = GuestImage(Path("vmlinuz"), "6.12", (), Path("x"), "f", {})
    for place in (qemu.machine_type, lambda: accelerator._key(image)):
        with pytest.raises(HostError) as error:
            place()
        assert only(family, str(error.value))
        assert f" {QEMU.get(family, 'qemu-system-x86')}" in str(error.value)


@pytest.mark.usefixtures("nothing_on_path")
def test_a_machine_without_mmdebstrap(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "DEBIANS_KEYS", tmp_path)
    with pytest.raises(HostError, match="building the guest needs mmdebstrap") as error:
        mmdebstrap.extract(tmp_path / "x.tar", ["bash"], "true")
    if family in ("debian", "ubuntu"):
        assert "apt-get install mmdebstrap debian-archive-keyring uidmap" in str(error.value)
    else:
        assert "we know no package of mmdebstrap" in str(error.value) and "container" in str(
            error.value
        )
        assert "apt-get" not in str(error.value)


def test_a_machine_without_debians_keys(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmdebstrap.apt_sources, "machine_sources", lambda: ())
    monkeypatch.setattr(requirements, "DEBIANS_KEYS", tmp_path / "none")
    with pytest.raises(HostError, match="the keys that Debian signs its packages with") as error:
        mmdebstrap.extract(tmp_path / "x.tar", ["bash"], "true")
    (found,) = checks._debians_keys()
    assert found.state == "missing"
    if family == "opensuse":
        assert "we know no package" in str(error.value) and "we know no package" in found.detail
    else:
        name = "debian-keyring" if family == "fedora" else "debian-archive-keyring"
        assert only(family, str(error.value)) and name in str(error.value) and name in found.mend


def test_a_machine_without_kernel_headers(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_MODULES", "_SOURCES", "_KHEADERS"):
        monkeypatch.setattr(headers, name, tmp_path / "none")
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    with pytest.raises(HostError) as error:
        headers.provide_headers()
    (found,) = checks._kernel_headers()
    for words in (str(error.value), found.mend):
        assert only(family, words) and f" {HEADERS[family]}" in words


def test_a_machine_without_bcc(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcc", None)
    monkeypatch.setattr(programs.headers, "provide_headers", lambda: None)
    with pytest.raises(HostError) as error:
        programs._compile("", [], "a wire")
    name = BCC.get(family, "python3-bcc")
    assert only(family, str(error.value)) and name in str(error.value)
    assert any(name in word for word in choose.missing_tools([])) or choose.missing_tools([]) == []


@pytest.mark.parametrize("release", DERIVED)
def test_derived_distributions_are_known_by_what_they_are_like(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("", release, tmp_path, monkeypatch)
    assert install_hints.distribution().family == DERIVED[release]
    assert only(DERIVED[release], install_hints.install_command("ping"))


def test_a_distribution_that_nobody_knows_is_shown_debians_names_and_no_command() -> None:
    nixos = {"ID": "nixos", "PRETTY_NAME": "NixOS 26.05"}
    assert (
        install_hints.install_command("qemu", release=nixos)
        == install_hints.install_command("qemu", release={})
        == ""
    )
    told = install_hints.how_to_get("qemu", "uidmap", release=nixos)
    assert told == "install what Debian calls qemu-system-x86 uidmap with your package manager"
    assert "NixOS 26.05 is unknown to us" in install_hints.distribution(nixos).guess


@pytest.mark.parametrize("codename", ["duke", "", "Trixie"])
def test_a_debian_release_that_nobody_knows_goes_on_with_the_names_of_the_newest(
    codename: str,
) -> None:
    there = {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 15", "VERSION_CODENAME": codename}
    told = install_hints.how_to_get("ping", release=there)
    assert "apt-get install iputils-ping" in told
    assert told.endswith(
        "Debian GNU/Linux 15 is unknown to us: packages are named as in debian trixie"
    )
    for known in ("bookworm", "trixie"):
        assert install_hints.distribution({**there, "VERSION_CODENAME": known}).guess == ""


def test_commands_for_others_than_root_begin_with_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, sudo in ((1000, "sudo "), (0, "")):
        monkeypatch.setattr(os, "geteuid", lambda number=number: number)
        told = install_hints.install_command("iperf3", release={"ID": "fedora"})
        assert told == f"{sudo}dnf install iperf3"


@pytest.mark.parametrize(
    "text",
    ["", "ID\n", "ID='unclosed\n", "\xff\x00", "# ID=debian\n", "=x\n", "ID=$(touch /tmp/x)\n"],
)
def test_a_strange_os_release_file_is_no_reason_to_fail(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("", text, tmp_path, monkeypatch)
    assert install_hints.distribution().family == ""
    monkeypatch.setenv("YOGURTBENCH_OS_RELEASE", str(tmp_path / "none"))
    assert install_hints.distribution().family == ""


def test_a_package_that_only_later_releases_have_is_named_for_those() -> None:
    bookworm, trixie = (
        {"ID": "debian", "VERSION_CODENAME": name} for name in ("bookworm", "trixie")
    )
    assert install_hints.package("netperf", bookworm) == ""
    assert install_hints.package("netperf", trixie) == "netperf"
    assert install_hints.install_command("netperf", release=bookworm) == ""
    assert "the VM lab brings its own" in install_hints.no_package("netperf", bookworm)
    assert install_hints.no_package("netperf", trixie) == ""


@pytest.mark.skipif(
    not shutil.which("apt-cache"), reason="packages are looked up in apt's own lists"
)
@pytest.mark.skipif(
    install_hints.distribution().guess != "", reason="a release that the table does not know"
)
def test_the_packages_we_name_are_this_distributions() -> None:
    here = [name for word in install_hints.known_words() if (name := install_hints.package(word))]
    done = subprocess.run(
        ["apt-cache", "policy", *here], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        pytest.skip("apt has no lists here")
    lacking = [
        name
        for name in here
        if not re.search(rf"^{re.escape(name)}:\n.*\n  Candidate: \d", done.stdout, re.M)
    ]
    assert lacking == []


class TestYb:
    """The same in POSIX shell."""

    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        for name in ("yb", "yogurtbench/core/packages.txt", "requirements.lock"):
            (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / name, tmp_path / "checkout" / name)
        return tmp_path / "checkout"

    @pytest.fixture
    def bare(self, tmp_path: Path) -> Callable[[Path], subprocess.CompletedProcess[str]]:
        """Run yb on a machine that has next to nothing on PATH, no package manager among it."""
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in (
            "sh",
            "id",
            "uname",
            "cat",
            "readlink",
            "dirname",
            "cksum",
            "tail",
            "ls",
            "date",
            "rm",
        ):
            (folder / name).symlink_to(shutil.which(name) or "/nonexistent")

        def run(checkout: Path) -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, "PATH": str(folder)}
            argv = [str(checkout / "yb"), "plan"]
            return subprocess.run(
                argv, env=environment, capture_output=True, text=True, check=False
            )

        return run

    def test_it_names_package_and_command(
        self, family: str, checkout: Path, bare: Callable[[Path], subprocess.CompletedProcess[str]]
    ) -> None:
        told = bare(checkout)
        assert (told.returncode, told.stdout) == (3, "")
        assert only(family, told.stderr)
        command = told.stderr.splitlines()[-1].partition("install them with: ")[2]
        wanted = ["qemu", "mmdebstrap"] + (
            ["uidmap"] if os.geteuid() else ["iperf3", "sockperf", "ping", "iproute2"]
        )
        for word in wanted:
            package = install_hints.package(word)
            if install_hints.no_package(word):
                assert f"yb: {install_hints.no_package(word)}\n" in told.stderr
            else:
                assert package in command.split()

    def test_a_distribution_that_nobody_knows_goes_on(
        self,
        checkout: Path,
        bare: Callable[[Path], subprocess.CompletedProcess[str]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        on("", "ID=nixos\nPRETTY_NAME='NixOS 26.05'\n", tmp_path, monkeypatch)
        told = bare(checkout)
        assert "NixOS 26.05 is unknown to us: packages are named as in Debian" in told.stderr
        assert "making .venv" in told.stderr and "apt-get" not in told.stderr

    def test_both_read_the_table_alike(self, tmp_path: Path) -> None:
        script = (HOME / "yb").read_text()
        functions = script[
            script.index("# The lines of a kind") : script.index("install_packages() {")
        ]
        words = " ".join(install_hints.known_words())
        tell = (
            f'for word in {words}; do package_of "$word"; echo "$word $package"; done; '
            'echo "$family|$guess|$system"'
        )
        for n, release in enumerate(
            [*RELEASES.values(), *DERIVED, "ID=nixos\n", "ID=debian\nVERSION_CODENAME=duke\n"]
        ):
            path = tmp_path / str(n)
            path.write_text(release)
            environment = {**os.environ, "YOGURTBENCH_OS_RELEASE": str(path)}
            program = f'set -eu\nhome="{HOME}"\n{functions}\ndistribution\n{tell}'
            done = subprocess.run(
                ["sh", "-c", program], env=environment, capture_output=True, text=True, check=True
            )
            fields = dict(
                line.partition("=")[::2]
                for line in release.replace('"', "").replace("'", "").splitlines()
            )
            there = install_hints.distribution(fields)
            *packages, last = done.stdout.splitlines()
            assert last == f"{there.family}|{there.guess}|{there.name}"
            known = "" if there.family else "debian"
            for line in packages:
                word, _, package = line.partition(" ")
                ours = (
                    ""
                    if install_hints.no_package(word, fields)
                    else install_hints.package(word, fields)
                )
                assert package == ours, (release, word, known)


def test_every_thing_without_a_package_has_another_way() -> None:
    for release in RELEASES.values():
        fields = dict(line.partition("=")[::2] for line in release.replace('"', "").splitlines())
        for word in install_hints.known_words():
            assert not install_hints.no_package(word, fields).endswith("install it by hand")


#: What installs packages, as a command line would name it.
INSTALLERS = re.compile(r"\b(apt-get|apt|dnf|yum|pacman|zypper)\b[\w\s=-]*\s(install|-S)\b")


def test_no_place_but_the_table_says_how_to_install() -> None:
    ours = [
        *(HOME / "yogurtbench").rglob("*.py"),
        HOME / "yb",
        HOME / "noxfile.py",
        *(HOME / "tools").glob("*.py"),
    ]
    told = [
        f"{path.relative_to(HOME)}: {line.strip()}"
        for path in ours
        for line in path.read_text().splitlines()
        if INSTALLERS.search(line)
    ]
    # yb itself runs apt, where it is Debian's or Ubuntu's; and nox, as it tests there.
    ran = "yb: apt-get -y -o DPkg::Lock::Timeout=300", "noxfile.py: session.run("
    assert [line for line in told if not line.startswith(ran)] == []
