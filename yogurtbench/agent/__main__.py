"""The agent: it takes requests as JSON lines where the trials run, and answers each.

``python -m yogurtbench.agent`` talks on its standard input and output: pipes in a native
sandbox, a serial port in the guest. Requests: ``{"op": "trial", "trial": {…}}``, ``{"op": "lab",
"trial": {…}, "argv": […]}``, ``{"op": "shell", "trial": {…}, "terminal": {…} or null}`` (see
lab_shell), ``{"op": "plan", "trial": {…}}`` (see lab_map), ``{"op": "record", "trial": {…}}`` (see
probe_trace), ``{"op": "control"}`` (see loads.control), ``{"op": "compile", "texts": {…}}`` and
``{"op": "clock", "seconds": …}`` (see hosts.vm.snapshot), ``{"op": "stop"}``.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench.agent import environment, features
from yogurtbench.agent.channel import Channel
from yogurtbench.agent.recorder import Recorder
from yogurtbench.agent.trial import attached_wire, describe_internal_error, run_trial
from yogurtbench.core import process as shell
from yogurtbench.core.builds import NOW, ProgramBuilds, program_set, user_program
from yogurtbench.core.errors import HostError
from yogurtbench.core.load_specs import TOOLS
from yogurtbench.core.printable import quoted
from yogurtbench.core.process import CommandFailed
from yogurtbench.core.records import Attempt, Trial
from yogurtbench.ebpf.kernel_symbols import packed_functions
from yogurtbench.ebpf.programs import Programs, compile_builds, program_sets
from yogurtbench.ebpf.wire import Wire
from yogurtbench.lab import Lab, Unsupported, bring_up, inherited, sandbox
from yogurtbench.loads import LoadFailed, control, iperf3

_VERSION_COMMANDS = {name: list(tool.version) for name, tool in TOOLS.items()} | {
    "iproute2": ["ip", "-V"]
}
#: How long all of them together may take to tell their versions.
_VERSION_SECONDS = 10.0


def main() -> None:
    """Set up the sandbox, send `ready`, serve requests until `stop` or EOF."""
    channel = _take_over_stdio()
    environment.take_over()
    versions = ask_versions()
    try:
        sandbox.set_up()
        found = features.probe()
    except (CommandFailed, NetlinkError, OSError) as error:
        # The host shows the last words of an agent that ends.
        sys.exit(f"no network can be made here: {_explain(error)}")
    programs = program_sets()
    about = {"versions": versions(), "features": found, "settings": inherited.of_the_room()}
    channel.send(
        {"event": "ready", "kernel": platform.release(), **about, "lacking": _missing_for_clock()}
    )
    orders: dict[str, Callable[[dict[str, Any]], None]] = {
        "trial": lambda order: _serve_trial(order, programs, channel),
        # a trial too; its name is as long, for a longer order would move what comes after
        "trace": lambda order: _serve_trial(order, programs, channel),
        "names": lambda _order: _serve_names(channel),
        "lab": lambda order: _serve_command(order, programs, channel),
        "shell": lambda order: _serve_shell(order, programs, channel),
        "plan": lambda order: _serve_map(order, programs, channel),
        "record": lambda order: _serve_probe(order, programs, channel),
        "control": lambda _order: _serve_control(channel),
        "compile": lambda order: _serve_compile(order, programs, channel),
        "clock": lambda order: time.clock_settime(time.CLOCK_REALTIME, order["seconds"]),
    }
    if "--still" in sys.argv:
        _serve_snapshot(programs, orders)
        return
    while (order := _next_request(channel)) is not None and order["op"] != "stop":
        orders[order["op"]](order)


def _explain(error: Exception) -> str:
    number = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", 0)
    if number in (errno.EPERM, errno.EACCES):
        return f"{os.strerror(number)}: it needs the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN"
    return str(error)


def _missing_for_clock() -> list[str]:
    """Return what the kernel lacks and this agent cannot do without."""
    if "--still" not in sys.argv:
        return []
    from yogurtbench.agent import checkpoint

    return checkpoint.missing_features()


def _serve_snapshot(
    programs: MutableMapping[str, Programs], orders: Mapping[str, Callable[[dict[str, Any]], None]]
) -> None:
    """Compile, stop where the machine is saved, and on waking carry out one request.

    This is the instruction clock's way.

    Where that is to compile more, stop again: that machine is saved too.
    """
    from yogurtbench.agent import checkpoint as still

    control.unmeasurable()
    iperf3.is_threaded()  # asked now, no trial has to
    order = still.read_request()
    while order["op"] == "compile":
        compile_builds(programs, ProgramBuilds.from_json(order["texts"]))
        order = still.wait_for_request()
    orders[order["op"]](order)
    still.flush_serial()


def _take_over_stdio() -> Channel:
    """Keep stdin and stdout for the conversation; whatever else prints goes to stderr."""
    channel = Channel(os.dup(0), os.dup(1))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return channel


def _next_request(channel: Channel) -> dict[str, Any] | None:
    try:
        return channel.receive(None)
    except EOFError:
        return None


def _serve_trial(order: dict[str, Any], programs: Mapping[str, Programs], channel: Channel) -> None:
    trial = Trial.from_json(order["trial"])

    def tell(phase: str) -> None:
        if trial.clock != "instructions":  # there a word on the line would be among what is counted
            channel.send({"event": "phase", "phase": phase})

    recorder = Recorder(channel) if order["op"] == "trace" else None
    try:
        attempt = run_trial(trial, programs[program_set(trial)], tell, recorder)
    except Exception as error:  # such as programs of a side that were not sent here
        attempt = Attempt.without_values(trial, "failed", describe_internal_error(error))
    channel.send({"event": "attempt", "attempt": attempt.to_json()})


def _serve_names(channel: Channel) -> None:
    """Tell the names of the kernel's functions."""
    with _reporting_exit(channel) as end:
        channel.send({"event": "symbols", "symbols": packed_functions(loaded=False)})
        end(0)


def _serve_command(
    order: dict[str, Any], programs: Mapping[str, Programs], channel: Channel
) -> None:
    """Run a command in the lab's host namespace, and pass its output on."""
    with _reporting_exit(channel) as end:
        with _lab_of(order, programs):
            code = _forward_output(order["argv"], channel)
        end(code)


def _serve_shell(order: dict[str, Any], programs: Mapping[str, Programs], channel: Channel) -> None:
    """Tell the lab's floor plan, then be a shell in its host namespace."""
    from yogurtbench.agent import lab_shell

    with _reporting_exit(channel) as end:
        with _lab_of(order, programs) as (network, wire):
            _send_map(network, wire, programs, channel)
            names = [namespace.name for namespace in network.namespaces if namespace.name]
            code = lab_shell.serve(network.cell.id, names, order["terminal"], channel)
        end(code)


def _serve_map(order: dict[str, Any], programs: Mapping[str, Programs], channel: Channel) -> None:
    with _reporting_exit(channel) as end:
        with _lab_of(order, programs) as (network, wire):
            _send_map(network, wire, programs, channel)
        end(0)


def _send_map(
    network: Lab, wire: Wire | None, programs: Mapping[str, Programs], channel: Channel
) -> None:
    from yogurtbench.agent import lab_map

    channel.send({"event": "plan", "plan": lab_map.draw(network, wire, programs[NOW])})


def _serve_probe(order: dict[str, Any], programs: Mapping[str, Programs], channel: Channel) -> None:
    from yogurtbench.agent import probe_trace

    with _reporting_exit(channel) as end:
        made = probe_trace.record_probe(Trial.from_json(order["trial"]), programs[NOW])
        channel.send({"event": "record", "record": made})
        end(0)


def _serve_control(channel: Channel) -> None:
    """Tell what cannot be asked on this machine, each with the reason."""
    with _reporting_exit(channel) as end:
        channel.send({"event": "control", "control": dict(control.unmeasurable())})
        end(0)


def _serve_compile(
    order: dict[str, Any], programs: MutableMapping[str, Programs], channel: Channel
) -> None:
    """Compile ahead of a machine that is saved next, and leave little of it to save."""
    from yogurtbench.agent import checkpoint

    with _reporting_exit(channel) as end:
        control.unmeasurable()
        compile_builds(programs, ProgramBuilds.from_json(order["texts"]))
        checkpoint.clear_free_memory()
        end(0)


@contextmanager
def _lab_of(
    order: dict[str, Any], programs: Mapping[str, Programs]
) -> Iterator[tuple[Lab, Wire | None]]:
    """Yield a cell's network and wire for the length of the block.

    Loops in it end with the block.
    """
    trial = Trial.from_json(order["trial"])
    with (
        bring_up(trial.cell) as network,
        attached_wire(programs[NOW], network, user_program(trial), traced=False) as wire,
    ):
        try:
            yield network, wire
        finally:
            if wire:
                wire.silence()


@contextmanager
def _reporting_exit(channel: Channel) -> Iterator[Callable[[int], None]]:
    """Tell how an order ended: by the yielded call, or, where something went wrong in the lab, by
    that.
    """
    try:
        yield lambda code: channel.send({"event": "exit", "code": code, "error": ""})
    except (Unsupported, LoadFailed, HostError, CommandFailed, NetlinkError, OSError) as error:
        channel.send({"event": "exit", "code": None, "error": str(error)})


def _forward_output(argv: list[str], channel: Channel) -> int:
    process = shell.start(argv, environment=environment.users_environment())
    pipes = {process.process.stdout: "stdout", process.process.stderr: "stderr"}
    for stream, text in shell.chunks(pipes):
        channel.send({"event": "output", "stream": stream, "text": text})
    return process.process.wait()


def ask_versions() -> Callable[[], dict[str, str]]:
    """Ask the tools for their versions, side by side.

    The returned call waits for the answers, by name.

    A tool that is not there is ``missing``; of one that does not answer, or without a number, it is
    said why the version is unknown.
    """
    asked = {name: _start_asking(argv) for name, argv in _VERSION_COMMANDS.items()}
    deadline = time.monotonic() + _VERSION_SECONDS

    def answers() -> dict[str, str]:
        found = {name: _version(process, deadline) for name, process in asked.items()}
        return {**found, "python": platform.python_version(), "bcc": _bcc_version()}

    return answers


def _start_asking(argv: list[str]) -> shell.Background | None:
    try:
        return shell.start(argv)
    except CommandFailed:
        return None


def _version(process: shell.Background | None, deadline: float) -> str:
    if process is None:
        return "missing"
    try:
        done = process.wait(max(0.1, deadline - time.monotonic()))
    except CommandFailed as failure:
        return f"unknown: it {failure.why}"
    return version_in(done.stdout + done.stderr)


def version_in(printed: str) -> str:
    """Return the first version number in what a tool printed, or that there is none."""
    number = re.search(r"\d{1,9}(\.\d{1,9}|\d{4,})[\w.-]{0,40}", printed, re.ASCII)
    return number[0] if number else f"unknown: {quoted(printed)[:80]}"


def _bcc_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bcc")
    except PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    main()
