"""Find out from a guest's console log why it died. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_STAMP = re.compile(r"^(\x1b\[\S*[A-Za-z])*\[\s*\d+\.\d+\]\s*(\[[CT]\s*\d+\]\s*)?")
#: The kernel's words for the end, or for what led to it.
_TELLING = re.compile(
    r"Kernel panic|BUG:|Oops:|kernel BUG at|general protection fault|Out of "
    r"memory|oom-kill|Unable to mount"
    r"|soft lockup|hard LOCKUP|rcu: INFO|invalid opcode|stack segment|double fault|Initramfs "
    r"unpacking failed"
)
_WHERE = re.compile(r"^(RIP: 0010:|sysrq: )")
_LAST = 6


def log_lines(text: str) -> list[str]:
    """Return the lines of a console log, without time stamps, control characters and empty
    lines.
    """
    plain = (
        _STAMP.sub("", line).strip()
        for line in _without_tracebacks(text.replace("\r", "").split("\n"))
    )
    return [line for line in plain if line and line.isprintable()]


def _without_tracebacks(raw: Iterable[str]) -> Iterator[str]:
    """Return a Python traceback's last line alone."""
    inside = False
    for line in raw:
        inside = line.startswith("Traceback (most recent call last)") or (
            inside and line.startswith(" ")
        )
        if not inside:
            yield line


def failure_lines(text: str) -> str:
    """Return why the guest died: the telling lines of its console, else the last ones.

    Empty for an empty log.
    """
    said = log_lines(text)
    telling = [line for line in said if _TELLING.search(line) or _WHERE.match(line)]
    fatal = any(_TELLING.search(line) for line in telling)
    return " | ".join(dict.fromkeys(telling[-_LAST:]) if fatal else said[-_LAST:])
