"""The programs that we start, distinguished from others of the same name by what they say of
themselves.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from yogurtbench.core import install_hints, load_specs, process
from yogurtbench.core.process import CommandFailed

#: Seconds that a program has to say what it is.
_PATIENCE = 10.0
#: What names a program in what it prints.
_NAMES = re.compile(r"busybox|toybox|inetutils|util-linux|iproute|\bversion:? v?\d", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program: whose it is, our word for what brings it, what it says when asked ``ask``.

    ``says`` is a pattern.
    """

    name: str
    whose: str
    thing: str
    ask: str = ""
    says: str = ""

    @property
    def package(self) -> str:
        """The package that brings it here; our word for it where we know none."""
        return install_hints.package(self.thing) or self.thing


_UTIL_LINUX = ("unshare", "nsenter", "setpriv", "taskset")
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        *(
            Tool(word, load_tool.maker, word, load_tool.version[1], load_tool.says)
            for word, load_tool in load_specs.TOOLS.items()
        ),
        *(
            Tool(name, "util-linux", "util-linux", "--version", r"\butil-linux\b")
            for name in _UTIL_LINUX
        ),
        Tool("mount", "util-linux", "mount", "--version", r"\butil-linux\b"),
        Tool("ip", "iproute2", "iproute2", "-V", r"\biproute2\b"),
        Tool("qemu-system-x86_64", "QEMU", "qemu", "--version", r"^QEMU emulator version \d"),
        Tool("mmdebstrap", "Debian", "mmdebstrap", "--version", r"^mmdebstrap \d"),
        Tool("newuidmap", "shadow", "uidmap"),  # has no word for who it is
    )
}


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of looking for a program: path, answer, and fault, empty where there is none."""

    tool: Tool
    path: str
    said: str
    fault: str

    @property
    def lacking(self) -> str:
        """The lack in a clause; empty where nothing is missing."""
        if not self.fault:
            return ""
        if not self.path:
            return f"{self.tool.name}, which is not installed"
        return f"{self.tool.name} of {self.tool.whose}, and {self.fault}"


def find_tools(name: str) -> Looked:
    """Look for a program of :data:`TOOLS` on PATH and ask it who it is."""
    tool, path = TOOLS[name], shutil.which(name) or ""
    if not path:
        return Looked(tool, "", "", f"no {name} on PATH")
    if not tool.ask:
        return Looked(tool, path, "", "")
    try:
        done = process.run([name, tool.ask], timeout=_PATIENCE, check=False)
    except CommandFailed as error:
        return Looked(tool, path, "", f"{path} cannot be asked what it is: {error.why}")
    lines = [
        " ".join(line.split())
        for line in f"{done.stdout}\n{done.stderr}".splitlines()
        if line.strip()
    ]
    said = next((line for line in lines if re.search(tool.says, line)), "")
    if said and done.code == 0:
        return Looked(tool, path, said, "")
    named = (
        said
        or next((line for line in lines if _NAMES.search(line)), "")
        or next(iter(lines), "nothing")
    )
    ended = f" and ends with exit code {done.code}" if done.code else ""
    return Looked(
        tool, path, named, f"{path} is not it: asked {tool.ask} it says '{named[:100]}'{ended}"
    )
