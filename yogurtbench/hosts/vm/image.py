"""The guest's image: built once by mmdebstrap, kept in the user's cache as initramfs archives, fingerprinted.

    userland/  Debian packages, extracted and pruned   } each an archive and a meta.json, in folders that appear by
    kernel/    bzImage, modules, headers               } one rename, so that what is there is whole
    source/    this package and what its agent imports, remade when a file of it changes
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import pwd
import py_compile
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from yogurtbench import places, shell
from yogurtbench.hosts.vm import archive, recipe, sources
from yogurtbench.hosts.vm.archive import Member
from yogurtbench.records import HostError, canonical
from yogurtbench.shell import CommandFailed

Say = Callable[[str], None]

_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent.parent
#: Where this package lies in the guest.
GUEST_HOME = "yogurt"
#: Pure Python packages of the running interpreter that the agent imports.
_DEPENDENCIES = ("pyroute2", "platformdirs")
#: What never runs in the guest.
_NOT_IN_GUEST = ("report/", "hosts/vm/", "analysis.py", "cli.py", "gate.py", "matrix.py", "store.py", "sweep.py")
#: Sources remade and images superseded pile up; this many of the newest are kept.
_KEPT = 4
_MMDEBSTRAP_SECONDS = 1800.0
_PATIENCE = 30.0
_PROGRESS = ("I: ", "W: skipping", "E: setup failed: E: command failed", "E: mmdebstrap failed to run", "W: Download is")


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A guest ready to boot: a kernel, its release, and the archives that make its initramfs, in order.

    ``fingerprint`` is 16 hex digits over package versions and recipe; ``packages`` are versions by name;
    ``headers`` is the path of kernel headers inside the guest.
    """

    kernel: Path
    release: str
    archives: tuple[Path, ...]
    fingerprint: str
    packages: Mapping[str, str]
    headers: str = f"/{recipe.HEADERS}"

    @property
    def size(self) -> int:
        """Bytes of the unpacked guest."""
        return sum(path.stat().st_size for path in self.archives)


def ensure(kernel: str = "host", *, say: Say) -> GuestImage:
    """The guest with a kernel: ``host`` (our default), a Debian release or series, or the path of a bzImage.

    A bzImage of one's own brings drivers built in, or modules in ``lib/modules/<release>`` beside it, as
    ``make modules_install INSTALL_MOD_PATH=.`` puts them. What the cache lacks is built; ``say`` is told.
    Raises HostError where it cannot be built.
    """
    if platform.machine() != "x86_64":
        raise HostError(f"the guest is built for x86_64 only, and this machine is {platform.machine()}: use --lab native")
    userland = _cached("userland", "debian", _build_userland, say)
    if not is_path(kernel):
        return _image(userland, _cached("kernel", _series(kernel), lambda into: _build_kernel(_series(kernel), into), say))
    default = _cached("kernel", recipe.DEFAULT_KERNEL, lambda into: _build_kernel(recipe.DEFAULT_KERNEL, into), say)
    own = _cached("kernel", _own_key(Path(kernel)), lambda into: _build_own(Path(kernel), into), say)
    return _image(userland, own, headers=default / "headers.cpio")


def is_path(kernel: str) -> bool:
    """Whether a kernel is named by the path of its bzImage."""
    return "/" in kernel


def overlay(extra: Mapping[str, bytes] | None = None) -> Path:
    """The archive with init, this package's own source and what its agent imports, and ``extra`` files.

    ``extra`` maps absolute guest paths to contents. Content-addressed: the same files give the same path.
    """
    guest_files = [archive.file(path.lstrip("/"), content) for path, content in (extra or {}).items()]
    members = [*_ours(), *_bytecode_of(_ours()), *guest_files]
    digest = hashlib.sha256(b"".join(b"%s\0%o\0%s\0" % (m.path.encode(), m.mode, m.content) for m in members))
    folder = _guest_cache() / "source"
    target = folder / f"{digest.hexdigest()[:16]}.cpio"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_archive(target, archive.sorted_with_folders(members))
        _forget_old(folder)
    return target


def kernel_release(bzimage: Path) -> str:
    """The release inside a bzImage (the kernel's Documentation, x86/boot.rst: ``kernel_version``)."""
    try:
        with bzimage.open("rb") as image:
            head = image.read(1 << 16)
    except OSError as error:
        raise HostError(f"the kernel {bzimage} cannot be read: {error.strerror}") from None
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    if head[0x202:0x206] != b"HdrS":
        raise HostError(f"{bzimage} is not a bzImage (an x86 Linux kernel as `make bzImage` builds it)")
    return head[start : head.index(b"\0", start)].decode().split()[0]


def _series(kernel: str) -> str:
    if kernel == "host":
        return recipe.DEFAULT_KERNEL
    if not re.fullmatch(r"\d+\.\d+[\w.+~-]*", kernel):
        raise HostError(f"kernel '{kernel}': want host, a Debian release such as '6.12', or a path with a / to a bzImage")
    return kernel


def _image(userland: Path, kernel: Path, headers: Path | None = None) -> GuestImage:
    of_userland, of_kernel = (json.loads((part / "meta.json").read_text()) for part in (userland, kernel))
    packages = {**of_userland["packages"], **of_kernel["packages"]}
    modules = kernel / "modules.cpio"
    return GuestImage(
        kernel=kernel / "vmlinuz",
        release=of_kernel["release"],
        archives=(userland / "root.cpio", headers or kernel / "headers.cpio", *([modules] if modules.exists() else [])),
        fingerprint=hashlib.sha256(canonical([packages, of_kernel["release"], _recipe()]).encode()).hexdigest()[:16],
        packages=packages,
    )


# --- the cache -------------------------------------------------------------------------------------------------------


def _guest_cache() -> Path:
    return places.cache() / "guest"


def _recipe() -> str:
    """Changes with whatever decides what an archive holds."""
    texts = [(_HERE / name).read_bytes() for name in ("recipe.py", "archive.py")]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]


def _cached(kind: str, name: str, build: Callable[[Path], None], say: Say) -> Path:
    """The cache's folder of this kind and name, built where it is missing: it appears whole or not at all."""
    folder = _guest_cache() / kind / f"{name}-{_recipe()}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f"{folder.name}.lock", say):
            if not folder.is_dir():
                say(f"building the guest's {kind} ({name}), once; kept in {folder.parent}")
                _build(folder, build)
    except OSError as error:
        raise HostError(f"the guest's {kind} cannot be built in {folder.parent}: {error.strerror or error}") from None
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    for left_over in folder.parent.glob(f".building-{folder.name}-*"):  # we hold the lock: nobody is at it
        shutil.rmtree(left_over)
    with tempfile.TemporaryDirectory(prefix=f".building-{folder.name}-", dir=folder.parent) as making:
        whole = Path(making) / "whole"
        whole.mkdir()
        build(whole)
        whole.rename(folder)


@contextlib.contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("waiting for another run that is building the guest")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write_archive(target: Path, members: Iterable[Member]) -> None:
    """Write beside the target, then link: never half an archive under its name."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".making-") as making:
        archive.write(making, members)
        making.flush()
        with contextlib.suppress(FileExistsError):  # another run made the same
            os.link(making.name, target)


def _forget_old(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.cpio"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT:]:
        path.unlink(missing_ok=True)


# --- building --------------------------------------------------------------------------------------------------------


def _build_userland(into: Path) -> None:
    tar = into / "root.tar"
    _mmdebstrap(tar, recipe.PACKAGES, recipe.FINISH_USERLAND)
    with (into / "root.cpio").open("wb") as out:
        archive.write(out, _userland_members(tar))
    _describe(into, packages=_package_list(tar))
    tar.unlink()


def _userland_members(tar: Path) -> list[Member]:
    return archive.sorted_with_folders([*recipe.FILES, *archive.from_tar(tar, recipe.userland), *recipe.FILES])


def _build_kernel(series: str, into: Path) -> None:
    tar = into / "kernel.tar"
    _mmdebstrap(tar, recipe.KERNEL_TOOLS, recipe.FETCH_KERNEL, WANTED=series)
    _take_bzimage(tar, into / "vmlinuz")
    for name, rename in (("modules", recipe.modules), ("headers", recipe.headers)):
        with (into / f"{name}.cpio").open("wb") as out:
            archive.write(out, archive.sorted_with_folders(archive.from_tar(tar, rename)))
    _describe(into, packages=_package_list(tar), release=kernel_release(into / "vmlinuz"))
    tar.unlink()


def _build_own(bzimage: Path, into: Path) -> None:
    release = kernel_release(bzimage)
    shutil.copyfile(bzimage, into / "vmlinuz")
    modules = bzimage.parent / "lib/modules" / release
    if modules.is_dir():
        with (into / "modules.cpio").open("wb") as out:
            archive.write(out, archive.sorted_with_folders(_own_modules(modules, release)))
    _describe(into, packages={"own-kernel": _digest(bzimage)}, release=release)


def _own_modules(modules: Path, release: str) -> Iterator[Member]:
    for path in modules.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield archive.file(f"usr/lib/modules/{release}/{path.relative_to(modules)}", path.read_bytes())


def _own_key(bzimage: Path) -> str:
    return f"own-{kernel_release(bzimage)}-{_digest(bzimage)}"


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:12]


def _describe(into: Path, **facts: object) -> None:
    (into / "meta.json").write_text(canonical(facts))


def _package_list(tar: Path) -> dict[str, str]:
    return recipe.packages(_from_tar(tar, recipe.PACKAGE_LIST).decode())


def _take_bzimage(tar: Path, target: Path) -> None:
    with tarfile.open(tar) as opened:
        name = next(n for n in opened.getnames() if "/boot/vmlinuz-" in n)
    target.write_bytes(_from_tar(tar, name))


def _from_tar(tar: Path, name: str) -> bytes:
    with tarfile.open(tar) as opened:
        member = next(m for m in opened if m.name.removeprefix("./") == name.removeprefix("./"))
        content = opened.extractfile(member)
        assert content is not None
        return content.read()


# --- mmdebstrap ------------------------------------------------------------------------------------------------------


def _mmdebstrap(tar: Path, packages: Sequence[str], finish: str, **environment: str) -> None:
    """Extract packages, unconfigured, into a tar; ``finish`` is a shell script run with the root as $1."""
    found = sources.machine_sources()
    argv = [
        "mmdebstrap",
        f"--mode={_mode()}",
        "--variant=extract",
        "--format=tar",
        f"--include={','.join(packages)}",
        f"--setup-hook={recipe.MERGE_USR}",
        f"--extract-hook={finish}",
        *(f"--aptopt={option}" for option in sources.transport_options()),
        "" if found else sources.DEFAULT_SUITE,
        str(tar),
        *found,
    ]
    try:
        _run_to_the_end(argv, {"SOURCE_DATE_EPOCH": "1", **environment})
    except CommandFailed as failure:
        raise HostError(f"the guest could not be built: mmdebstrap {failure.why}: {_last_words(failure)}") from None


def _run_to_the_end(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Like shell.run, but an interrupted mmdebstrap gets the time to clear its own files away."""
    process = shell.start(argv, environment=environment)
    try:
        done = process.wait(_MMDEBSTRAP_SECONDS)
    except BaseException:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.process.pid, signal.SIGINT)
            process.process.wait(_PATIENCE)
        process.end()
        raise
    if done.code:
        raise CommandFailed(done, f"ended with exit code {done.code}")


def _last_words(failure: CommandFailed) -> str:
    """What went wrong, without mmdebstrap's own progress and its echo of our scripts."""
    scripts = {line for argument in failure.completed.argv for line in argument.splitlines()}
    lines = [line for line in failure.completed.stderr.strip().splitlines() if line not in scripts]
    return " | ".join([line for line in lines if not line.startswith(_PROGRESS)][-4:] or lines[-2:])


def _mode() -> str:
    """Root where we are it; else mmdebstrap's unshare mode. Raises HostError saying what that lacks."""
    if not shutil.which("mmdebstrap"):
        raise HostError("building the guest needs mmdebstrap: sudo apt-get install mmdebstrap uidmap")
    if os.geteuid() == 0:
        return "root"
    if not shutil.which("newuidmap"):
        raise HostError("building the guest without root needs newuidmap: sudo apt-get install uidmap")
    _want_subordinate_ids()
    _want_user_namespaces()
    return "unshare"


def _want_subordinate_ids() -> None:
    user, number = _user(), str(os.geteuid())
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        owners = {line.partition(":")[0] for line in path.read_text().splitlines()} if path.exists() else set()
        if not owners & {user, number}:
            raise HostError(
                f"building the guest without root needs subordinate ids for {user} in {path}: "
                f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


_SWITCHES = {
    "kernel.unprivileged_userns_clone": "1",
    "kernel.apparmor_restrict_unprivileged_userns": "0",
    "user.max_user_namespaces": "10000",
}


def _want_user_namespaces() -> None:
    try:
        shell.run(["unshare", "--user", "--map-root-user", "true"], timeout=10)
    except CommandFailed:
        raise HostError(
            "building the guest without root needs user namespaces, and this machine forbids them: "
            f"{_mend_user_namespaces()}, or build it once as root with the same YOGURTBENCH_CACHE"
        ) from None


def _mend_user_namespaces() -> str:
    for name, wanted in _SWITCHES.items():
        path = Path("/proc/sys", *name.split("."))
        now = path.read_text().strip() if path.exists() else wanted
        if now != wanted and (now == "0" or wanted == "0"):
            return f"sudo sysctl {name}={wanted}"
    return "in a container, its seccomp profile must allow unshare(2)"


# --- what rides along ------------------------------------------------------------------------------------------------


def _ours() -> list[Member]:
    """init, this package, its programs, and the pure Python packages its agent imports."""
    init = archive.file("init", (_HERE / "guest/init").read_bytes(), executable=True)
    return [init, *_python_of(_PACKAGE, _in_guest), *_programs(), *(m for name in _DEPENDENCIES for m in _dependency(name))]


def _in_guest(path: str) -> bool:
    return not path.startswith(_NOT_IN_GUEST)


def _dependency(name: str) -> list[Member]:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise HostError(f"the guest needs the Python package {name}: reinstall yogurtbench with its dependencies")
    return _python_of(Path(spec.origin).parent, lambda path: not path.startswith("tests/"))


def _python_of(package: Path, wanted: Callable[[str], bool]) -> list[Member]:
    paths = ((path, path.relative_to(package).as_posix()) for path in sorted(package.rglob("*.py")))
    return [archive.file(f"{GUEST_HOME}/{package.name}/{name}", path.read_bytes()) for path, name in paths if wanted(name)]


def _programs() -> list[Member]:
    """The wire programs, beside the package as in a checkout or inside it as in a wheel."""
    inside = _PACKAGE / "bpf"
    folder = inside if inside.is_dir() else _PACKAGE.parent / "bpf"
    return [
        archive.file(f"{GUEST_HOME}/{_PACKAGE.name}/bpf/{path.name}", path.read_bytes())
        for path in sorted(folder.iterdir())
        if path.suffix in (".c", ".h")
    ]


def _bytecode_of(members: Iterable[Member]) -> Iterator[Member]:
    """Unchecked bytecode, which saves the guest the compiling, for the Python that runs here.

    A guest with another Python ignores it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "source.py"), str(Path(scratch, "target.pyc"))
        for member in members:
            if member.path.endswith(".py"):
                source.write_bytes(member.content)
                py_compile.compile(
                    str(source),
                    target,
                    dfile=f"/{member.path}",
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
                yield archive.file(_bytecode_path(member.path), Path(target).read_bytes())


def _bytecode_path(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
