import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yogurtbench.core.errors import HostError
from yogurtbench.hosts import requirements
from yogurtbench.hosts.vm import bytecode, cache, cpio, image, overlay
from yogurtbench.hosts.vm.cpio import Member
from yogurtbench.hosts.vm.image import GuestImage, apt_sources, build, mmdebstrap, recipe
from yogurtbench.hosts.vm.image.apt_sources import AptSource

ONE_LINE = """
# deb http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive.gpg] http://mirror.example/debian bookworm main # ours
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb [signed-by=/etc/apt/keyrings/other.gpg] https://packages.example/apt tool-bookworm main
deb https://download.example/linux/debian bookworm stable
deb https://apt.example bookworm main
"""
DEB822 = """# the machine's
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
# a comment inside
Components: main
Signed-By: /usr/share/keyrings/debian-archive.gpg

Types: deb
URIs: mirror+file:///etc/apt/mirrors/debian-security.list
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main

Types: deb
URIs: https://packages.example/node
Suites: nodistro
Components: main
"""
OS_RELEASE = 'ID=debian\nVERSION_CODENAME="bookworm"\n'


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty cache of our own."""
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/guest"


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Puts a stand-in shell script under a name in front of everything on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def machine(tmp_path):
    """What a machine of a release, with a sources.list and a .sources file, gives to the guest."""

    def given(codename, one_line, deb822=""):
        (tmp_path / "sources.list.d").mkdir(exist_ok=True)
        (tmp_path / "sources.list").write_text(one_line, errors="surrogateescape")
        (tmp_path / "sources.list.d/debian.sources").write_text(deb822, errors="surrogateescape")
        (tmp_path / "os-release").write_text(f"ID=debian\nVERSION_CODENAME={codename}\n")
        return apt_sources.machine_sources(tmp_path, tmp_path / "os-release")

    return given


class TestSources:
    def test_one_line_entries_of_debian_are_kept_and_others_are_not(self):
        assert [
            s.line for s in apt_sources.parse_one_line(ONE_LINE) if s.is_debian("bookworm")
        ] == [
            "deb [signed-by=/usr/share/keyrings/debian-archive.gpg] "
            "http://mirror.example/debian bookworm main",
            "deb http://mirror.example/debian-security bookworm-security main",
        ]

    def test_deb822_entries_of_debian_are_kept_and_disabled_ones_are_not(self):
        found = [s for s in apt_sources.parse_deb822(DEB822) if s.is_debian("bookworm")]
        assert [(s.suite, bool(s.signed_by)) for s in found] == [
            ("bookworm", True),
            ("bookworm-updates", True),
            ("bookworm-security", False),
        ]

    def test_a_key_inside_a_stanza_is_left_to_apt(self):
        text = (
            "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: "
            "main\nSigned-By:\n -----BEGIN\n x\n"
        )
        assert next(apt_sources.parse_deb822(text)).signed_by == ""

    def test_the_machine_s_files_of_both_formats_are_read_without_repetition(self, tmp_path):
        (tmp_path / "sources.list.d").mkdir()
        (tmp_path / "sources.list").write_text(ONE_LINE)
        (tmp_path / "sources.list.d/a.list").write_text(ONE_LINE)
        (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
        (tmp_path / "os-release").write_text(OS_RELEASE)
        assert len(apt_sources.machine_sources(tmp_path, tmp_path / "os-release")) == 4

    def test_a_machine_that_is_no_debian_has_none(self, tmp_path):
        (tmp_path / "sources.list").write_text(ONE_LINE)
        (tmp_path / "os-release").write_text(
            'ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME="bookworm"\n'
        )
        assert apt_sources.machine_sources(tmp_path, tmp_path / "os-release") == ()
        assert apt_sources.machine_sources(tmp_path, tmp_path / "missing") == ()

    def test_a_source_without_a_key_has_no_option(self):
        assert (
            AptSource("http://m.example/debian", "sid", ("main",)).line
            == "deb http://m.example/debian sid main"
        )

    def test_those_of_the_guest_s_release_are_in_the_same_places(self, machine):
        assert machine("bookworm", ONE_LINE) == (
            "deb [signed-by=/usr/share/keyrings/debian-archive.gpg] "
            "http://mirror.example/debian trixie main",
            "deb http://mirror.example/debian-security trixie-security main",
        )
        enabled = DEB822.replace("Enabled: no\n", "")
        assert machine("bookworm", "", enabled) == (
            "deb [signed-by=/usr/share/keyrings/debian-archive.gpg] "
            "http://mirror.example/debian trixie main",
            "deb [signed-by=/usr/share/keyrings/debian-archive.gpg] "
            "http://mirror.example/debian trixie-updates main",
            "deb mirror+file:///etc/apt/mirrors/debian-security.list trixie-security main",
            "deb http://mirror.example/debian trixie-backports main",
        )

    def test_an_old_name_of_the_security_archive_becomes_that_of_today(self, machine):
        assert machine(
            "buster", "deb http://mirror.example/debian-security buster/updates main"
        ) == ("deb http://mirror.example/debian-security trixie-security main",)

    @pytest.mark.parametrize("codename", ["trixie", "forky"])
    def test_a_machine_of_that_release_or_a_newer_one_gives_the_same(self, machine, codename):
        listed = "".join(
            f"deb http://mirror.example/{where} {codename}{more} main contrib\n"
            for where, more in (
                ("debian", ""),
                ("debian-security", "-security"),
                ("debian", "-backports"),
            )
        )
        assert machine(codename, listed) == (
            "deb http://mirror.example/debian trixie main contrib",
            "deb http://mirror.example/debian-security trixie-security main contrib",
            "deb http://mirror.example/debian trixie-backports main contrib",
        )

    @pytest.mark.parametrize(
        "suite", ["sid", "unstable", "testing", "stable", "bookworm-proposed-updates"]
    )
    def test_suites_that_name_no_release_are_left_to_mmdebstrap_s_own_mirror(self, machine, suite):
        assert machine("forky", f"deb http://mirror.example/debian {suite} main\n") == ()

    @pytest.mark.parametrize(
        "listed", ["\0\udcff deb", "deb", "deb [ http://mirror.example/debian", "<html>no</html>"]
    )
    def test_a_list_that_makes_no_sense_has_no_archives(self, machine, listed):
        assert machine("bookworm", listed, listed) == ()

    def test_a_list_that_cannot_be_read_has_no_archives(self, machine, tmp_path):
        (tmp_path / "sources.list.d/x.sources").mkdir(parents=True)
        (tmp_path / "sources.list.d/y.list").symlink_to(tmp_path / "nowhere")
        assert machine("bookworm", "deb http://mirror.example/debian bookworm main") != ()

    def test_a_stanza_is_read_as_what_it_was_written_from(self):
        (first, *_) = apt_sources.parse_one_line(ONE_LINE)
        assert list(apt_sources.parse_deb822(first.stanza)) == [first]

    def test_proxies_and_tls_are_taken_over_and_nothing_else(self):
        dump = (
            'Acquire "";\nAcquire::http "";\nAcquire::http::Proxy "http://proxy.example:3128";\n'
            'Acquire::https::CAInfo "/etc/ca.pem";\nAcquire::Languages '
            '"none";\nAcquire::Retries "3";\n'
        )
        assert apt_sources.parse_transport(dump) == (
            'Acquire::http::Proxy "http://proxy.example:3128";',
            'Acquire::https::CAInfo "/etc/ca.pem";',
            'Acquire::Retries "3";',
        )


class TestArchive:
    def test_the_kernel_s_format_is_what_cpio_reads(self, tmp_path):
        made = tmp_path / "made.cpio"
        members = [
            cpio.file("a/b", b"content"),
            cpio.file("a/run", b"#!", executable=True),
            cpio.symlink("l", "a/b"),
        ]
        with made.open("wb") as out:
            cpio.write(out, cpio.sorted_with_folders(members))
        listed = subprocess.run(
            ["cpio", "-t", "-v", "--quiet"],
            stdin=made.open("rb"),
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line.split() for line in listed.stdout.splitlines()]
        assert [(line[0], line[8]) for line in lines] == [
            ("drwxr-xr-x", "a"),
            ("-rw-r--r--", "a/b"),
            ("-rwxr-xr-x", "a/run"),
            ("lrwxrwxrwx", "l"),
        ]

    @given(
        st.dictionaries(
            st.text("abc/", min_size=1).map(lambda s: s.strip("/") or "x"), st.binary(max_size=700)
        )
    )
    def test_every_archive_is_padded_so_that_another_may_follow(self, files):
        out = io.BytesIO()
        cpio.write(out, [cpio.file(path, content) for path, content in files.items()])
        assert len(out.getvalue()) % 512 == 0

    def test_the_same_members_in_any_order_give_the_same_bytes(self):
        members = [cpio.file(f"d{n % 3}/f{n}", bytes([n])) for n in range(9)]
        assert _bytes(cpio.sorted_with_folders(members)) == _bytes(
            cpio.sorted_with_folders(members[::-1])
        )

    def test_folders_come_before_what_is_in_them_and_the_last_of_two_counts(self):
        made = cpio.sorted_with_folders(
            [cpio.file("a-b", b""), cpio.file("a/b/c", b"1"), cpio.file("a/b/c", b"2")]
        )
        assert [m.path for m in made] == ["a", "a-b", "a/b", "a/b/c"]
        assert made[-1].content == b"2"

    def test_a_tar_loses_its_devices_and_its_hard_links_become_symlinks(self, tmp_path):
        tar = tmp_path / "a.tar"
        with tarfile.open(tar, "w") as out:
            for name, kind in (
                ("./usr", tarfile.DIRTYPE),
                ("./usr/perl", tarfile.REGTYPE),
                ("./dev", tarfile.CHRTYPE),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.mode = kind, 0o755
                out.addfile(info)
            link = tarfile.TarInfo("./usr/perl5")
            link.type, link.linkname = tarfile.LNKTYPE, "./usr/perl"
            out.addfile(link)
        found = {m.path: m for m in cpio.from_tar(tar, lambda path: path)}
        assert list(found) == ["usr", "usr/perl", "usr/perl5"]
        assert found["usr/perl5"] == cpio.symlink("usr/perl5", "/usr/perl")


class TestRecipe:
    @pytest.mark.parametrize(
        "path",
        [
            "usr/bin/python3.13",
            "usr/lib/llvm-19/lib/libclang-cpp.so.19.1",
            "usr/lib/x86_64-linux-gnu/libLLVM.so.19.1",
            "usr/lib/python3/dist-packages/bcc/__init__.py",
            "usr/lib/python3.13/unittest/__init__.py",
            "etc/protocols",
            "bin",
        ],
    )
    def test_what_the_guest_needs_is_kept(self, path):
        assert recipe.userland(path) == path

    @pytest.mark.parametrize(
        "path",
        [
            "usr/share/doc/bash/copyright",
            "usr/bin/perl5.40.1",
            "usr/lib/python3.13/test/support/__init__.py",
            "var/cache/apt/archives/bash.deb",
            "dev/console",
            "etc/resolv.conf",
            recipe.PACKAGE_LIST,
            f"{recipe.COMPILER}/python3",
        ],
    )
    def test_what_only_costs_boot_time_is_pruned(self, path):
        assert recipe.userland(path) is None

    def test_both_header_trees_merge_into_one(self):
        assert (
            recipe.headers("kernel/usr/src/linux-headers-6.12-common/include/linux/bpf.h")
            == "usr/src/headers/include/linux/bpf.h"
        )
        generated = "arch/x86/include/generated/asm/unistd.h"
        assert (
            recipe.headers(f"kernel/usr/src/linux-headers-6.12-amd64/{generated}")
            == f"usr/src/headers/{generated}"
        )
        assert (
            recipe.headers("kernel/usr/src/linux-headers-6.12-common/include/sound/core.h") is None
        )

    def test_modules_of_networks_are_kept(self):
        assert (
            recipe.modules("kernel/lib/modules/6.12/kernel/drivers/net/veth.ko")
            == "usr/lib/modules/6.12/kernel/drivers/net/veth.ko"
        )
        assert (
            recipe.modules("kernel/lib/modules/6.12/modules.dep")
            == "usr/lib/modules/6.12/modules.dep"
        )
        assert recipe.modules("kernel/lib/modules/6.12/kernel/drivers/gpu/drm/drm.ko") is None

    def test_package_versions_are_read_from_the_names_of_their_files(self):
        listing = "lock\npartial\nethtool_1%3a6.1-1_amd64.deb\niperf3_3.12-1+deb12u2_amd64.deb\n"
        assert recipe.packages(listing) == {"ethtool": "1:6.1-1", "iperf3": "3.12-1+deb12u2"}


class TestCache:
    def test_what_is_there_is_not_built_again(self, kept):
        said = []
        for _ in range(2):
            found = cache.ensure_folder(
                "userland", "x", lambda into: (into / "root").write_text("whole"), said.append
            )
        assert (found / "root").read_text() == "whole"
        assert len(said) == 1

    @pytest.mark.parametrize(
        "end", [KeyboardInterrupt, OSError(28, "No space left on device"), HostError("no")]
    )
    def test_an_end_halfway_leaves_nothing_that_would_be_believed(self, kept, end):
        def build_half(into):
            (into / "root").write_text("half")
            raise end

        with pytest.raises((KeyboardInterrupt, HostError)):
            cache.ensure_folder("userland", "x", build_half, lambda _: None)
        assert [path.name for path in (kept / "userland").iterdir()] == ["x.lock"]

    def test_a_full_disk_is_one_sentence(self, kept):
        def full(into):
            raise OSError(28, "No space left on device")

        with pytest.raises(
            HostError, match=r"userland cannot be kept in .*: No space left on device"
        ):
            cache.ensure_folder("userland", "x", full, lambda _: None)

    def test_what_a_killed_run_left_is_cleared_away(self, kept):
        (kept / "userland/.building-x-abc/whole").mkdir(parents=True)
        cache.ensure_folder("userland", "x", lambda into: None, lambda _: None)
        assert sorted(path.name for path in (kept / "userland").iterdir()) == ["x", "x.lock"]

    def test_of_two_at_once_one_builds_and_the_other_waits(self, kept):
        built, said = [], []

        def slow(into):
            time.sleep(0.3)
            built.append(into)

        both = [
            threading.Thread(target=cache.ensure_folder, args=("kernel", "x", slow, said.append))
            for _ in range(2)
        ]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert len(built) == 1
        assert "waiting for another run that is building the guest" in said

    def test_only_the_newest_files_are_kept(self, kept):
        for n in range(5):
            path = cache.ensure_file("overlay", f"{n}", lambda: b"x", keep=2)
            os.utime(path, (n, n))
        assert sorted(path.name for path in path.parent.iterdir()) == ["3", "4"]


class TestBootstrap:
    def test_its_failure_is_reported_by_its_last_words(self, monkeypatch, on_path, tmp_path):
        on_path(
            "mmdebstrap",
            'echo "I: running apt-get update..." >&2; echo "E: cannot reach the mirror" >&2; '
            "exit 25",
        )
        on_path("newuidmap", "exit 0")
        on_path("unshare", "exit 0")
        monkeypatch.setattr(
            requirements, "subordinate_ids", lambda *_: requirements.Requirement("ids")
        )
        with pytest.raises(HostError) as error:
            mmdebstrap.extract(tmp_path / "x.tar", ["bash"], "true")
        assert "exit code 25: E: cannot reach the mirror" in str(error.value)
        assert "I: running" not in str(error.value)

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            (
                "E: The repository 'http://mirror.example/debian trixie Release' does not "
                "have a Release file.",
                "http://mirror.example/debian has no trixie, and the guest is Debian 13: name "
                "a mirror that has it",
            ),
            (
                "E: The repository 'http://mirror.example/debian trixie Release' no longer "
                "has a Release file.",
                "http://mirror.example/debian has no trixie, and the guest is Debian 13: name "
                "a mirror that has it",
            ),
            (
                "W: GPG error: http://mirror.example/debian trixie InRelease: not verified: "
                "NO_PUBKEY 1",
                "the machine's keys of Debian's archive are older than Debian 13: upgrade its "
                "debian-archive-keyring",
            ),
        ],
    )
    def test_a_mirror_without_the_guest_s_release_is_one_clear_sentence(
        self, kept, monkeypatch, on_path, tmp_path, said, told
    ):
        on_path("mmdebstrap", f'echo "{said}" >&2; exit 25')
        monkeypatch.setattr(mmdebstrap, "_mode", lambda: "root")

        def build_userland(into):
            mmdebstrap.extract(into / "x.tar", ["bash"], "true")

        with pytest.raises(HostError) as error:
            cache.ensure_folder("userland", "x", build_userland, print)
        assert str(error.value).startswith(f"the guest could not be built: {told}")
        assert [path.name for path in (kept / "userland").iterdir()] == ["x.lock"]

    def test_a_machine_without_it_is_shown_how_to_get_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(HostError, match="apt-get install mmdebstrap"):
            mmdebstrap.extract(tmp_path / "x.tar", ["bash"], "true")

    def test_without_root_and_newuidmap_the_command_that_adds_it_is_named(
        self, monkeypatch, on_path, tmp_path
    ):
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        on_path("mmdebstrap", "exit 1")
        monkeypatch.setattr(
            mmdebstrap.shutil, "which", lambda name: None if name == "newuidmap" else "/bin/true"
        )
        with pytest.raises(HostError, match="apt-get install uidmap"):
            mmdebstrap.extract(tmp_path / "x.tar", ["bash"], "true")

    def test_without_subordinate_ids_the_command_that_adds_them_is_named(
        self, monkeypatch, on_path, tmp_path
    ):
        on_path("mmdebstrap", "exit 1")
        on_path("newuidmap", "exit 0")
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(
            HostError,
            match=r"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 12345",
        ):
            mmdebstrap.extract(tmp_path / "x.tar", ["bash"], "true")

    def test_where_user_namespaces_are_forbidden_it_says_so(self, monkeypatch, on_path, tmp_path):
        on_path("mmdebstrap", "exit 1")
        on_path("newuidmap", "exit 0")
        on_path("unshare", "echo 'unshare failed: Operation not permitted' >&2; exit 1")
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        monkeypatch.setattr(
            requirements, "subordinate_ids", lambda *_: requirements.Requirement("ids")
        )
        with pytest.raises(HostError, match="user namespaces, and this machine forbids them"):
            mmdebstrap.extract(tmp_path / "x.tar", ["bash"], "true")


class Archive:
    """A Debian archive in a folder, of packages that hold little, and apt told of it alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = ""

    def add(self, name: str, depends: str = "", files: tuple[str, ...] = ()) -> None:
        tree = self.folder / "tree" / name
        for path in (f"usr/share/doc/{name}/copyright", *files):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(f"{name}: {path}")
        control = (
            f"Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: x <x@example.org>\n"
        )
        control += f"Depends: {depends}\n" if depends else ""
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(f"{control}Description: x\n")
        package = self.folder / f"{name}_1.0-1_amd64.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-b", tree, package], check=True, capture_output=True
        )
        facts = f"Filename: ./{package.name}\nSize: {package.stat().st_size}\n"
        self.index += (
            f"{control}{facts}SHA256: "
            f"{hashlib.sha256(package.read_bytes()).hexdigest()}\nDescription: x\n\n"
        )

    def configuration(self) -> Path:
        (self.folder / "Packages").write_text(self.index)
        for name in (
            "lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
        ):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "status").touch()
        (self.folder / "etc/sources.list").write_text(f"deb [trusted=yes] file:{self.folder} ./\n")
        path = self.folder / "apt.conf"
        path.write_text(
            f'Dir::Etc "{self.folder}/etc"; Dir::State "{self.folder}"; Dir::State::status '
            f'"{self.folder}/status";'
            f'Dir::Cache "{self.folder}/cache"; APT::Architecture "amd64"; APT::Sandbox::User '
            '"root";'
        )
        subprocess.run(
            ["apt-get", "update", "-q"], env={**os.environ, "APT_CONFIG": str(path)}, check=True
        )
        return path


@pytest.mark.skipif(not shutil.which("apt-cache"), reason="asks apt")
class TestKernelPackages:
    """The script that fetches a kernel, with the real apt and dpkg.

    Depmod and xz, run in its root, are none.
    """

    @pytest.fixture
    def debian(self, tmp_path):
        (tmp_path / "debian").mkdir()
        return Archive(tmp_path / "debian")

    @pytest.fixture
    def fetch(self, debian, on_path, tmp_path):
        def fetched(wanted):
            on_path("chroot", f'shift; echo "$*" >> {tmp_path}/chrooted')
            environment = {
                **os.environ,
                "MMDEBSTRAP_APT_CONFIG": str(debian.configuration()),
                "WANTED": wanted,
            }
            root = tmp_path / "root"
            root.mkdir(exist_ok=True)
            script = ["sh", "-c", recipe.FETCH_KERNEL, "exec", str(root)]
            done = subprocess.run(
                script, env=environment, capture_output=True, text=True, check=False
            )
            listed = root / recipe.PACKAGE_LIST
            names = set(recipe.packages(listed.read_text())) if listed.exists() else set()
            paths = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
            return done, names, paths

        return fetched

    def test_one_of_one_package_comes_with_both_its_header_trees(self, debian, fetch, tmp_path):
        release = "6.12.9+deb12-cloud-amd64"
        module = f"lib/modules/{release}/kernel/drivers/net/veth.ko"
        debian.add("linux-base")
        debian.add(
            f"linux-image-{release}", "linux-base, kmod", (f"boot/vmlinuz-{release}", module)
        )
        debian.add(f"linux-image-{release}-unsigned")
        debian.add(
            "linux-headers-6.12.9+deb12-common",
            "",
            ("usr/src/linux-headers-6.12.9+deb12-common/x.h",),
        )
        needs = (
            f"linux-headers-6.12.9+deb12-common, gcc-12, linux-image-{release} | "
            f"linux-image-{release}-unsigned"
        )
        debian.add(f"linux-headers-{release}", needs)
        done, names, paths = fetch("6.12")
        assert done.returncode == 0, done.stderr
        assert names == {
            f"linux-image-{release}",
            f"linux-headers-{release}",
            "linux-headers-6.12.9+deb12-common",
        }
        assert {f"kernel/usr/{module}", f"kernel/boot/vmlinuz-{release}"} <= paths
        assert f"depmod -b /kernel {release}" in (tmp_path / "chrooted").read_text()

    def test_one_of_many_packages_is_followed_however_they_are_called(self, debian, fetch):
        release, rest = "7.9.1+deb14-cloud-amd64", "7.9.1+deb14"
        debian.add(
            f"linux-image-{release}", f"linux-core-{release} (= 1.0-1), linux-modules-{release}"
        )
        debian.add(
            f"linux-core-{release}",
            f"linux-base-{release}",
            (f"usr/lib/modules/{release}/vmlinuz",),
        )
        debian.add(f"linux-base-{release}", "", (f"usr/lib/modules/{release}/modules.builtin",))
        debian.add(
            f"linux-modules-{release}",
            f"linux-base-{release}",
            (f"usr/lib/modules/{release}/kernel/a.ko.xz",),
        )
        debian.add(f"linux-headers-{release}", f"linux-headers-{rest}-common, linux-base-{release}")
        debian.add(f"linux-headers-{rest}-common", f"linux-headers-{rest}-more")
        debian.add(f"linux-headers-{rest}-more")
        done, names, paths = fetch("7.9.1")
        assert done.returncode == 0, done.stderr
        assert len(names) == 7
        assert {
            f"kernel/usr/lib/modules/{release}/{name}" for name in ("vmlinuz", "kernel/a.ko.xz")
        } <= paths

    def test_the_newest_of_a_series_is_the_newest_that_is_whole(self, debian, fetch):
        for patch in (8, 9, 10):
            debian.add(
                f"linux-image-6.19.{patch}+deb13-cloud-amd64",
                f"linux-modules-6.19.{patch}+deb13-cloud-amd64",
            )
        for patch in (8, 9):
            debian.add(
                f"linux-modules-6.19.{patch}+deb13-cloud-amd64",
                "",
                (f"usr/lib/modules/{patch}/modules.order",),
            )
        done, names, _ = fetch("6.19")
        assert done.returncode == 0, done.stderr
        assert names == {f"linux-{part}-6.19.9+deb13-cloud-amd64" for part in ("image", "modules")}

    def test_one_that_only_the_backports_have_comes_from_them(self, debian, fetch, tmp_path):
        debian.add("linux-image-6.12.9+deb13-cloud-amd64")
        (tmp_path / "root/etc/apt").mkdir(parents=True)
        listed = "deb [signed-by=/k.gpg] http://mirror.example/debian trixie main\n"
        security = "deb http://mirror.example/debian-security trixie-security main\n"
        (tmp_path / "root/etc/apt/sources.list").write_text(listed + security)
        done, _, _ = fetch("7.3")
        added = (tmp_path / "root/etc/apt/sources.list.d/backports.list").read_text()
        assert (
            added == "deb [signed-by=/k.gpg] http://mirror.example/debian trixie-backports main\n"
        )
        assert "no Debian kernel package for '7.3'" in done.stderr  # this archive has no backports

    def test_the_backports_are_not_asked_for_one_that_the_release_has(
        self, debian, fetch, tmp_path
    ):
        debian.add(
            "linux-image-6.12.9+deb13-cloud-amd64", "", ("lib/modules/6.12.9/modules.order",)
        )
        (tmp_path / "root/etc/apt").mkdir(parents=True)
        (tmp_path / "root/etc/apt/sources.list").write_text(
            "deb http://mirror.example/debian trixie main\n"
        )
        done, _, _ = fetch("6.12")
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "root/etc/apt/sources.list.d").exists()

    def test_one_that_is_not_whole_is_reported_with_what_lacks_and_those_that_are(
        self, debian, fetch
    ):
        debian.add("linux-image-7.1.13+deb13-cloud-amd64", "linux-modules-7.1.13+deb13-cloud-amd64")
        debian.add("linux-image-6.1.0-56-amd64")
        done, _, _ = fetch("7.1")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            "no Debian kernel package for '7.1': linux-image-7.1.13+deb13-cloud-amd64 needs "
            "linux-modules-7.1.13+deb13-cloud-amd64, which no source has; there are: 6.1.0-56-amd64"
        )

    def test_one_whose_headers_are_gone_is_taken_without(self, debian, fetch):
        debian.add(
            "linux-image-6.17.8+deb13-cloud-amd64", "", ("lib/modules/6.17.8/modules.order",)
        )
        done, names, _ = fetch("6.17")
        assert done.returncode == 0, done.stderr
        assert names == {"linux-image-6.17.8+deb13-cloud-amd64"}


class TestKernels:
    def test_the_release_is_read_from_the_bzimage(self, tmp_path):
        assert build.kernel_release(_bzimage(tmp_path / "bzImage")) == "6.19.0-mine"

    def test_another_file_is_refused(self, tmp_path):
        (tmp_path / "vmlinux").write_bytes(b"\x7fELF" + bytes(9999))
        with pytest.raises(HostError, match="vmlinux is not a bzImage"):
            build.kernel_release(tmp_path / "vmlinux")

    @pytest.mark.parametrize("start", [0, 0x300, 0xFFF0])
    def test_one_that_names_no_release_is_refused(self, tmp_path, start):
        head = bytearray(0x1000)
        head[0x202:0x206], head[0x20E:0x210] = b"HdrS", start.to_bytes(2, "little")
        (tmp_path / "bzImage").write_bytes(head)
        with pytest.raises(HostError, match="bzImage does not say which release it is"):
            build.kernel_release(tmp_path / "bzImage")

    def test_a_missing_one_is_refused(self, tmp_path):
        with pytest.raises(HostError, match="cannot be read: No such file"):
            build.kernel_release(tmp_path / "none")

    def test_one_of_one_s_own_comes_with_the_modules_beside_it(self, tmp_path):
        bzimage = _bzimage(tmp_path / "bzImage")
        module = tmp_path / "lib/modules/6.19.0-mine/kernel/veth.ko"
        module.parent.mkdir(parents=True)
        module.write_bytes(b"ELF")
        before = build.own_kernel_key(bzimage)
        into = tmp_path / "into"
        into.mkdir()
        build.own_kernel(bzimage, into)
        assert b"usr/lib/modules/6.19.0-mine/kernel/veth.ko" in (into / "modules.cpio").read_bytes()
        assert json.loads((into / "meta.json").read_text())["release"] == "6.19.0-mine"
        module.write_bytes(b"another")
        assert build.own_kernel_key(bzimage) != before

    @pytest.mark.parametrize(
        ("bzimage", "modules"),
        [
            ("bzImage", "lib/modules/6.19.0-mine"),
            ("bzImage", "usr/lib/modules/6.19.0-mine"),
            ("boot/vmlinuz-6.19.0-mine", "lib/modules/6.19.0-mine"),
            ("usr/lib/modules/6.19.0-mine/vmlinuz", "usr/lib/modules/6.19.0-mine"),
        ],
    )
    def test_wherever_an_installation_puts_them_its_modules_are_found(
        self, tmp_path, bzimage, modules
    ):
        kernel = tmp_path / bzimage
        (tmp_path / modules / "kernel").mkdir(parents=True)
        kernel.parent.mkdir(parents=True, exist_ok=True)
        _bzimage(kernel)
        for name in ("modules.order", "kernel/veth.ko.xz"):
            (tmp_path / modules / name).write_bytes(b"x")
        (tmp_path / modules / "build").symlink_to(tmp_path)
        assert [member.path for member in build._own_modules(kernel)] == [
            "usr/lib/modules/6.19.0-mine/kernel/veth.ko.xz",
            "usr/lib/modules/6.19.0-mine/modules.order",
        ]

    def test_modules_that_the_guest_s_modprobe_cannot_read_are_unpacked_and_indexed_anew(
        self, tmp_path
    ):
        bzimage = _bzimage(tmp_path / "bzImage")
        folder = tmp_path / "lib/modules/6.19.0-mine"
        folder.mkdir(parents=True)
        (folder / "modules.dep.bin").write_bytes(b"of veth.ko.gz")
        (folder / "kernel").mkdir()
        (folder / "kernel/veth.ko.gz").write_bytes(gzip.compress(b"ELF"))
        (member,) = build._own_modules(bzimage)
        assert (member.path, member.content) == (
            "usr/lib/modules/6.19.0-mine/kernel/veth.ko",
            b"ELF",
        )
        (folder / "kernel/veth.ko.gz").write_bytes(b"ELF")
        with pytest.raises(HostError, match=r"the module .*veth.ko.gz is damaged"):
            list(build._own_modules(bzimage))

    def test_who_lacks_a_driver_is_shown_what_modules_there_are(self, tmp_path):
        bzimage = _bzimage(tmp_path / "bzImage")
        assert "(there are none there)" in image.advice(str(bzimage), "6.19.0-mine")
        (tmp_path / "lib/modules/6.18.0").mkdir(parents=True)
        assert "(the modules there are of 6.18.0, not of 6.19.0-mine)" in image.advice(
            str(bzimage), "6.19.0-mine"
        )
        assert image.advice("6.1", "6.1.0-56-amd64") == "take another kernel"

    def test_a_debian_kernel_without_headers_takes_those_of_our_default(self, kept, monkeypatch):
        def kernel(wanted, into):
            facts = {
                "packages": {wanted: "1"},
                "release": wanted,
                "headers": wanted == recipe.DEFAULT_KERNEL,
            }
            (into / "meta.json").write_text(json.dumps(facts))

        monkeypatch.setattr(
            build, "userland", lambda into: (into / "meta.json").write_text('{"packages": {}}')
        )
        monkeypatch.setattr(build, "kernel", kernel)
        made = image.ensure("6.17", say=lambda _: None)
        assert made.release == "6.17"
        _, headers, modules = (path.parent.name for path in made.archives)
        assert headers.startswith(f"{recipe.DEFAULT_KERNEL}-") and modules.startswith("6.17-")

    def test_another_kernel_builds_no_userland_again(self, kept, monkeypatch):
        built = []

        def pretend(kind):
            def made(*arguments):
                built.append(kind)
                (arguments[-1] / "meta.json").write_text(
                    json.dumps({"packages": {kind: "1"}, "release": kind})
                )

            return made

        monkeypatch.setattr(build, "userland", pretend("userland"))
        monkeypatch.setattr(build, "kernel", pretend("kernel"))
        prints = {
            image.ensure(kernel, say=lambda _: None).fingerprint
            for kernel in ("host", "6.1", "6.12.117+deb12-amd64")
        }
        assert sorted(built) == ["kernel", "kernel", "kernel", "userland"]
        assert len(prints) == 1  # the pretended packages are the same
        image.ensure("6.1", say=lambda _: None)
        assert len(built) == 4

    @pytest.mark.parametrize("kernel", ["six", "6", "6.1; rm -rf", "../6.1 ", "$(x)"])
    def test_a_word_that_is_no_release_is_refused_before_anything_is_built(self, kept, kernel):
        with pytest.raises(HostError):
            image.ensure(kernel, say=lambda _: None)
        assert not kept.exists()


TAG = sys.implementation.cache_tag


@pytest.fixture
def guest_image(tmp_path):
    """A guest whose Python is the one that runs here, by a loader that only starts it."""
    compiler = tmp_path / "compiler"
    compiler.mkdir()
    loader = compiler / "ld-linux-x86-64.so.2"
    loader.write_text(f'#!/bin/sh\nshift 3; unset PYTHONHOME; exec {sys.executable} "$@"\n')
    loader.chmod(0o755)
    (compiler / "python3").write_text("a version")
    return GuestImage(tmp_path / "vmlinuz", "6.12", (), tmp_path / "x", "f", {}, compiler=compiler)


class TestBytecode:
    SOURCE = cpio.file("yogurt/x/y.py", b"answer = 42\n")

    def test_it_is_believed_unchecked(self, kept, guest_image):
        made = bytecode.archive([self.SOURCE, cpio.file("init", b"")], guest_image.compiler)
        assert made.count(b".pyc\0") == 1 and f"yogurt/x/__pycache__/y.{TAG}.pyc\0".encode() in made
        # PEP 552
        assert MAGIC_NUMBER + bytes([1, 0, 0, 0]) + source_hash(self.SOURCE.content) in made

    def test_it_is_made_anew_for_another_python(self, kept, guest_image):
        bytecode.archive([self.SOURCE], guest_image.compiler)
        (guest_image.compiler / "python3").write_text("another version")
        bytecode.archive([self.SOURCE], guest_image.compiler)
        assert len(list((kept / "bytecode").iterdir())) == 2

    def test_a_source_that_cannot_be_compiled_is_reported(self, kept, guest_image):
        with pytest.raises(
            HostError, match="the guest's Python could not compile here: SyntaxError: "
        ):
            bytecode.archive([cpio.file("yogurt/z.py", b"def")], guest_image.compiler)

    def test_a_python_that_does_not_run_or_is_gone_is_reported(self, kept, guest_image):
        (guest_image.compiler / "ld-linux-x86-64.so.2").chmod(0o644)
        with pytest.raises(
            HostError, match=r"the guest's Python does not run here: .*Permission denied"
        ):
            bytecode.archive([self.SOURCE], guest_image.compiler)
        (guest_image.compiler / "python3").unlink()
        with pytest.raises(HostError, match=r"the guest's Python is gone: .*No such file"):
            bytecode.archive([self.SOURCE], guest_image.compiler)


class TestLuggage:
    def test_it_is_the_agent_with_what_it_imports_and_nothing_of_the_report(self):
        paths = [member.path for member in overlay._own_members()]
        assert {
            "init",
            "yogurt/yogurtbench/agent/__main__.py",
            "yogurt/yogurtbench/ebpf/wire.py",
        } <= set(paths)
        assert "yogurt/yogurtbench/bpf/redirect.c" in paths
        assert "yogurt/pyroute2/__init__.py" in paths
        assert not [path for path in paths if "/report/" in path or "matrix" in path]
        assert not [path for path in paths if "/hosts/" in path]

    def test_the_same_files_give_the_same_archive_and_others_another(self, kept, guest_image):
        assert overlay.build_overlay(guest_image) == overlay.build_overlay(guest_image)
        mine = overlay.build_overlay(guest_image, {"/yogurt/wires/my_wire.c": b"int x;"})
        assert mine != overlay.build_overlay(guest_image)
        assert b"yogurt/wires/my_wire.c\0" in mine.read_bytes()

    def test_the_bytecode_rides_along_and_is_made_once(self, kept, guest_image):
        packed = overlay.build_overlay(guest_image).read_bytes()
        assert (
            packed.count(f"yogurt/yogurtbench/core/__pycache__/records.{TAG}.pyc\0".encode()) == 1
        )
        assert f"yogurt/pyroute2/netlink/__pycache__/nlsocket.{TAG}.pyc\0".encode() in packed
        (compiled,) = (kept / "bytecode").iterdir()
        compiled.write_bytes(b"made before")
        assert overlay.build_overlay(guest_image).read_bytes().endswith(b"made before")

    def test_wire_programs_are_what_is_measured_not_what_measures(self, monkeypatch):
        before = overlay.agent_digest()
        monkeypatch.setattr(
            overlay,
            "_programs",
            lambda: [Member("yogurt/yogurtbench/bpf/new.c", stat.S_IFREG, b"")],
        )
        assert overlay.agent_digest() == before


def _bytes(members):
    out = io.BytesIO()
    cpio.write(out, members)
    return out.getvalue()


def _bzimage(path: Path) -> Path:
    head = bytearray(0x1000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x300).to_bytes(2, "little")
    name = b"6.19.0-mine (me@here) #1\0"
    head[0x500 : 0x500 + len(name)] = name
    path.write_bytes(bytes(head))
    return path
