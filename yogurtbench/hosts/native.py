"""The native host: an agent in a sandbox on this kernel."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from contextlib import suppress
from typing import Any

import psutil

from yogurtbench import launch
from yogurtbench.agent.channel import Channel
from yogurtbench.core import process
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import Environment
from yogurtbench.hosts.base import AgentHost
from yogurtbench.lab import inherited, sandbox

_READY_SECONDS = 30.0


class SandboxProcess:
    """A machine (see hosts.machine) that is a process tree in private namespaces.

    The kernel clears it away.
    """

    def __init__(self) -> None:
        argv = process.kill_with_parent(
            sandbox.sandbox_command(launch.command("yogurtbench.agent"))
        )
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the room
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            process_group=0,
        )
        assert self._process.stdin and self._process.stdout
        self.channel = Channel(
            os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno())
        )
        self._process.stdin.close()
        self._process.stdout.close()

    def failure_reason(self) -> str:
        """Return the end of what the agent and its tools wrote to standard error."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-5:]) or "no output"

    def close(self) -> None:
        """Kill the room.

        With its first process the kernel ends all others and frees what they held.
        """
        self.channel.close()
        with suppress(
            subprocess.TimeoutExpired
        ):  # an idle agent leaves by itself when its line closes
            self._process.wait(0.5)
        self._process.kill()
        self._process.wait()
        self._stderr.close()


def host() -> AgentHost:
    """Return the native host.

    Raises HostError, on entry, without root or where a room cannot be made.
    """
    return AgentHost(_start)


def _start() -> tuple[SandboxProcess, Environment, dict[str, bool]]:
    if os.geteuid() != 0:
        raise HostError(
            "the native lab needs root: run it with sudo, or use --lab vm, which does not"
        )
    made = SandboxProcess()
    try:
        ready = made.channel.receive(_READY_SECONDS)
    except (EOFError, TimeoutError):
        why = made.failure_reason()
        made.close()
        raise HostError(f"the native lab could not be made: {why}") from None
    return made, _environment(ready), ready["features"]


def _environment(ready: dict[str, Any]) -> Environment:
    # What the lab has from this machine and cannot change: runs under unlike settings are not
    # compared.
    settings = {**inherited.of_the_machine(), **ready["settings"]}
    place = {"lab": "native", "kernel": platform.release(), "machine": machine_name()}
    identity = {**place, **ready["versions"], **settings}
    system = {
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total >> 20} MiB",
    }
    return Environment(
        platform.node(), "native", "none", "wall", platform.release(), identity, system
    )


def machine_name() -> str:
    """Return the machine without its name: processor model and number of usable CPUs."""
    with open("/proc/cpuinfo") as info:
        model = next(
            (line.partition(":")[2].strip() for line in info if line.startswith("model name")),
            "unknown",
        )
    return f"{model}, {len(os.sched_getaffinity(0))} CPUs"
