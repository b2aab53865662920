"""The guest's recipe: packages, what is pruned from them, our own files.

Data only; its text is hashed.
"""

from __future__ import annotations

import re

from yogurtbench.core import install_hints
from yogurtbench.core.load_specs import TOOLS
from yogurtbench.hosts.vm.cpio import Member, file, folder, symlink

#: The guest's Debian, 13, whichever release the machine has: so guests of all machines are one.
SUITE = "trixie"

#: The Debian series that has netkit, tcx and long-term support: the guest's kernel where a matrix
#: names none.
DEFAULT_KERNEL = "6.12"

#: bcc, what the lab calls, what a person in its shell misses first, and the loads' tools.
PACKAGES = (
    "bash",
    "bpftool",
    "coreutils",
    "dash",
    "ethtool",
    "grep",
    "iproute2",
    "kmod",
    "less",
    "libc-bin",
    "mount",
    "ncurses-base",
    "netbase",
    "procps",
    "python3",
    "python3-bpfcc",
    "sed",
    "tcpdump",
    "util-linux",
    *(install_hints.package(tool, {"ID": "debian", "VERSION_CODENAME": SUITE}) for tool in TOOLS),
)

#: The userland's tar also carries this list of the packages that were extracted.
PACKAGE_LIST = "yogurt-packages"

#: Debian merged /bin, /sbin and /lib into /usr; extracting alone does not make the links.
MERGE_USR = 'for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'

#: The guest's Python with what it needs to compile and no more: it runs on the machine, whichever
#: that has.
COMPILER = "yogurt-compiler"

#: Bytecode is made now and never checked again, since the files' times are fixed later on.
FINISH_USERLAND = r"""set -eu
ls "$1/var/cache/apt/archives" > "$1/@LIST@"
chroot "$1" /sbin/ldconfig
chroot "$1" python3 -m compileall -q --invalidation-mode unchecked-hash $(cd "$1"; ls -d usr/lib/python3*)
chroot "$1" sh -eu -c '
    python=$(readlink -f /usr/bin/python3)
    library=@COMPILER@/lib/${python##*/}
    mkdir -p "$library"
    cp -L $(ldd "$python" | grep -o "/[^ ]*") @COMPILER@
    cp "$python" @COMPILER@/python3
    cp -r "/usr/lib/${python##*/}/encodings" "$library"
'
""".replace("@LIST@", PACKAGE_LIST).replace("@COMPILER@", COMPILER)

#: Fetches one kernel and its headers. $1: root, WANTED: a release or a series. Cloud flavour first:
#: it is a third the size of the generic one and has every driver of ours. Which packages a kernel
#: is made of is for its dependencies to say: one up to Linux 6.18, four later on. Archives also
#: keep images whose other packages, or headers, are gone. The backports, which have most kernels,
#: are asked where the release itself has not the one that is wanted.
FETCH_KERNEL = r"""set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

# The names in what apt-cache says of a package's needs; of alternatives the first.
needed() { awk '/Depends: / { if (!either) { gsub(/[<>]/, ""); print $NF }; either = /^ *\|/ }'; }

# The package $1 with the packages of the same kernel that they depend on; or fails, and names one that is not there.
closure() {
    release=$(printf %s "$1" | sed -E 's/^linux-(image|headers)-//; s/(-[a-z][a-z0-9]*)+$//')
    left=$1 known=
    while [ -n "$left" ]; do
        package=${left%% *}
        left=$(printf %s "${left#"$package"}" | sed 's/^ *//')
        case " $known " in *" $package "*) continue ;; esac
        if ! apt-cache show --no-all-versions "$package" 2> /dev/null | grep -q '^Package: '; then
            echo "$package"
            return 1
        fi
        known="$known $package"
        needs=$(apt-cache depends --important "$package" | needed | grep "^linux-" | grep -F -e "-$release" || :)
        left="$left "$(printf %s "$needs" | tr '\n' ' ')
    done
    echo "$known"
}

# The releases of the images (names on standard input) whose packages are all there.
complete() {
    while read -r name; do
        if closure "$name" > /dev/null; then echo "${name#linux-image-}"; fi
    done
}

# The images that there are, into $images; and of the wanted one into $image, with its packages into $packages.
look() {
    images=$(apt-cache pkgnames linux-image- | grep -E '^linux-image-[0-9].*-amd64$' | sort -V -r)
    packages= lacking=
    for pattern in "$series" "$series$number-cloud-amd64" "$series$number-amd64"; do
        for image in $(printf '%s\n' "$images" | grep -E -x "$pattern"); do
            if packages=$(closure "$image"); then return; fi
            [ "$packages" = "$image" ] || lacking="${lacking:-: $image needs $packages, which no source has}"
            packages=
        done
    done
}

# The release's backports, wherever the release itself is; fails where they are a source already.
add_backports() {
    lists=$(ls "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*.list 2> /dev/null) || :
    [ -n "$lists" ] || return 1
    more=$(sed -n -E 's/^(deb .*[^ ] )@SUITE@ .*/\1@SUITE@-backports main/p' $lists | sort -u)
    [ -n "$more" ] && ! grep -q ' @SUITE@-backports ' $lists || return 1
    mkdir -p "$1/etc/apt/sources.list.d"
    printf '%s\n' "$more" > "$1/etc/apt/sources.list.d/backports.list"
    apt-get update -q >&2
}

series="linux-image-$(printf %s "$WANTED" | sed 's/[.+]/\\&/g')"
number='(\.[0-9]+)?(\+[a-z0-9]+)?(-[0-9]+)?'
look
if [ -z "$packages" ] && add_backports "$1"; then look; fi
if [ -z "$packages" ]; then
    echo "no Debian kernel package for '$WANTED'$lacking; there are:" $(printf '%s\n' "$images" | grep -E -x \
        "linux-image-[0-9].*[0-9]-amd64|linux-image-[0-9.]+\+deb[0-9]+-amd64" | sort -V | complete) >&2
    exit 1
fi
if headers=$(closure "linux-headers-${image#linux-image-}"); then packages="$packages $headers"; fi
mkdir -p "$1/kernel"
cd "$1/kernel"
apt-get download -q $(printf '%s\n' $packages | sort -u)
ls > "$1/@LIST@"
for package in *.deb; do dpkg-deb -x "$package" .; done
rm -f *.deb
if [ -d lib ]; then
    mkdir -p usr/lib
    cp -a lib/. usr/lib/
    rm -rf lib
fi
ln -s usr/lib lib
chroot "$1" find /kernel/usr/lib/modules -name '*.ko.xz' -exec xz -d {} +
chroot "$1" find /kernel/usr/lib/modules -name '*.ko.zst' -exec zstd -q -d --rm {} +
for modules in usr/lib/modules/*; do chroot "$1" depmod -b /kernel "${modules##*/}"; done
""".replace("@LIST@", PACKAGE_LIST).replace("@SUITE@", SUITE)

#: What FETCH_KERNEL needs inside its root.
KERNEL_TOOLS = ("coreutils", "dash", "findutils", "kmod", "xz-utils", "zstd")

_PRUNED = re.compile(
    r"""(boot|dev|home|media|mnt|opt|proc|run|srv|sys|tmp|var|lost\+found)(/|$)
    | etc/(apt|hostname$|resolv\.conf$|rc.\.d|init\.d|cron|systemd|pam\.d|security|skel|perl|X11|update-motd|logrotate)
    | usr/share/(?!ieee-data|terminfo|python3$|bcc)
    | usr/(games|local|src|include)/
    | usr/s?bin/(perl|cpan|pod|prove|corelist|enc2xs|h2ph|h2xs|instmodsh|json_pp|libnetcfg|piconv|pl2pm|ptar|shasum
        |splain|streamzip|xsubpp|zipdetails|dpkg|pydoc|pygettext|py3)
    | usr/lib/(systemd|udev|dpkg|apt|tmpfiles\.d|sysusers\.d|valgrind|init|mime)
    | usr/lib/x86_64-linux-gnu/(perl|gconv|security|libperl|libdb-|systemd|e2fsprogs)
    | usr/lib/llvm-\d+/(?!lib(/libclang-cpp|$))
    | usr/lib/python3[^/]*/(test|idlelib|tkinter|ensurepip|lib2to3|pydoc_data|turtledemo|venv|distutils|unittest/test)/
    """,
    re.VERBOSE,
)

#: Network drivers and the like that Debian builds as modules; all else a netkit lab needs is built
#: in.
_MODULES = re.compile(
    r"""modules\.
    | kernel/drivers/net/(veth|dummy|tun|tap|ifb|macvlan|macvtap|vxlan|netdevsim|nlmon|vrf)
    | kernel/net/(802|8021q|bridge/[^/]*$|core|ipv4/[^/]*$|ipv6/[^/]*$|llc|packet|sched|unix)
    | kernel/drivers/firmware/qemu_fw_cfg
    | kernel/lib/
    | kernel/arch/x86/crypto/crc32c
    | kernel/crypto/crc32c
    """,
    re.VERBOSE,
)

_HEADER = re.compile(r"usr/src/linux-headers-[^/]+/(?P<path>(arch/x86/)?include/.*)")
#: Not wanted by any network program, and every file costs boot time.
_PRUNED_HEADERS = re.compile(
    r"""include/(config|drm|dt-bindings|media|memory|misc|pcmcia|ras|rdma|rv|scsi|soc|sound|target|ufs|video|xen)/
    | include/uapi/(drm|linux/(android|iio|usb|genwqe|surface_aggregator|hsi|spi)|misc|mtd|rdma|scsi|sound|video|xen)/
    | include/linux/(amba|ceph|comedi|dma|extcon|firmware|fpga|gpio|greybus|hsi|i3c|iio|input|mfd|mlx\d|mmc|mtd|mux
        |pinctrl|platform_data|power|qed|raid|regulator|rpmsg|rtc|soc|soundwire|spi|surface_aggregator|unaligned/|usb)/
    """,
    re.VERBOSE,
)

#: The fixed places in the guest.
HEADERS = "usr/src/headers"

#: Unconfigured packages leave these out.
FILES: tuple[Member, ...] = (
    *(folder(name) for name in ("dev", "proc", "root", "run", "sys", "tmp", "var", "var/tmp")),
    symlink("var/run", "/run"),
    file("etc/passwd", b"root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"),
    file("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
    file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n"),
)


#: A guest that has just a shell, to see whether it runs at all.
MARKER = "user space reached"
SMALLEST_FILES: tuple[Member, ...] = (
    folder("dev"),
    file("init", f"#!/bin/sh\necho {MARKER} > /dev/console\n".encode(), executable=True),
)
_SMALLEST = re.compile(
    r"bin|lib|lib64|usr/s?bin/(sh|dash)|usr/lib64/ld-linux.*|usr/lib/x86_64-linux-gnu/(libc\.so\.6|ld-linux.*)"
)


def smallest(path: str) -> str | None:
    """Return where a path of the bootstrapped root goes in the guest that has just a shell.

    None: nowhere.
    """
    return path if _SMALLEST.fullmatch(path) else None


def userland(path: str) -> str | None:
    """Return where a path of the bootstrapped root goes in the guest; None: nowhere."""
    ours = path == PACKAGE_LIST or path.startswith(COMPILER)
    return None if ours or _PRUNED.match(path) else path


def modules(path: str) -> str | None:
    """Return where a path of the fetched kernel's root goes in the archive of modules.

    None: nowhere.
    """
    found = re.fullmatch(r"kernel/(?:usr/)?lib/modules/(?P<release>[^/]+)/(?P<path>.+)", path)
    if not found or not _MODULES.match(found["path"]):
        return None
    return f"usr/lib/modules/{found['release']}/{found['path']}"


def headers(path: str) -> str | None:
    """Return where a path of the fetched kernel's root goes in the one merged tree of headers.

    None: nowhere.
    """
    found = _HEADER.fullmatch(path.removeprefix("kernel/"))
    return (
        None if not found or _PRUNED_HEADERS.match(found["path"]) else f"{HEADERS}/{found['path']}"
    )


def packages(listing: str) -> dict[str, str]:
    """Package versions by name, from the names of .deb files."""
    names = (line.split("_") for line in listing.split() if line.endswith(".deb"))
    return {name: version.replace("%3a", ":") for name, version, _ in names}
