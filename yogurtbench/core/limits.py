"""Resource limits of this process (getrlimit(2)): raise them, or refuse to run with too little."""

from __future__ import annotations

import resource

from yogurtbench.core.errors import HostError

#: What a run with two guests side by side opens, and room to spare.
_FILES = 256
#: No more than this: some programs that we start close whatever could be open, one by one.
_MOST_FILES = 4096
#: What pandas, Matplotlib and LLVM map. With less OpenBLAS ends the process with exit code 1, which
#: means a regression.
_ADDRESSES = 1 << 30


def raise_or_refuse() -> None:
    """Raise the limit of open files to what is allowed.

    Raises HostError where too little is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < _FILES:
        raise HostError(
            f"only {hard} files may be open at once (ulimit -n), and a run opens more: allow "
            f"{_FILES}"
        )
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < _ADDRESSES:
        raise HostError(
            f"only {soft >> 20} MiB of addresses may be mapped (ulimit -v), and a run maps more: "
            f"allow {_ADDRESSES >> 20} MiB"
        )
