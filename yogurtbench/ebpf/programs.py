"""The C programs, compiled: ours of bpf/ once a sweep as one text, a custom wire once per
way.

Beside kernel_symbols the only module that imports bcc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from yogurtbench.core import install_hints, paths
from yogurtbench.core.builds import BASE, BLIND, DROPS, NOW, TRACED, ProgramBuilds, UserProgram
from yogurtbench.core.errors import HostError
from yogurtbench.core.hook_specs import HELPERS
from yogurtbench.core.printable import printable
from yogurtbench.ebpf import headers, includes, tracer
from yogurtbench.ebpf.child_compiler import try_compiling
from yogurtbench.ebpf.kernel_symbols import symbol_at

#: In the table's order: redirect_neigh stands before the variant that uses its declaration.
_HELPERS = dict.fromkeys(
    f"{helper.program_name}.c" for helper in HELPERS.values() if "SCHED_CLS" in helper.program_types
)
#: In the order of the text.
_FILES = (
    "yogurt.h",
    *_HELPERS,
    "pass.c",
    "next.c",
    "redirect_in.c",
    "guard_cb.c",
    "guard_mark.c",
    "xdp.c",
)
_TRACER = ("netns.h", "trace.c")
_DROPS = ("netns.h", "drops.c")
_WAYS = ("forward", "return")
#: Tells the ways apart in a text (yogurt.h).
_WAY = "YB_WAY"


def source_folder() -> Path:
    """Return where the C programs lie."""
    return paths.bundled("bpf")


class NoSuchProgram(HostError):
    """The folder, of another time, has no such program."""


class ProgramRef(Protocol):
    """The key of a program's compiled text: its C name and its way."""

    @property
    def program(self) -> str:
        """The C name."""
        ...

    @property
    def way(self) -> str:
        """``forward`` or ``return``."""
        ...


@dataclass(slots=True)
class Programs:
    """The compiled wires of a folder: made once a sweep, used by every trial.

    Not one is compiled before it is needed.

    ``flags`` are given to the compiler beside our own.
    """

    folder: Path = field(default_factory=source_folder)
    flags: tuple[str, ...] = ()
    _own: dict[tuple[str, str, bool, bool], Any] = field(default_factory=dict)
    _ours: dict[bool, Any] = field(default_factory=dict)
    _refused: dict[tuple[str, ...], HostError] = field(default_factory=dict)
    _drops: Any = None

    def ours(self, *, traced: bool) -> Any:
        """Return bcc's handle of our programs; ``traced``: with the tracer, recording their hits.

        Raises HostError where bcc or its headers are missing.
        """
        if traced not in self._ours:
            layout = _tracing_flags() if traced else ()
            files = [*_TRACER, *_FILES] if traced else _FILES
            there = [
                name for name in files if (self.folder / name).is_file()
            ]  # an older folder may lack some
            of_another = self.folder != source_folder()
            self._ours[traced] = self._compiled(
                join_sources(self.folder, *there), layout, "the wires", in_child=of_another
            )
        return self._ours[traced]

    def drops(self) -> Any:
        """Return bcc's handle of the drop counter. The kernel must have a :func:`tracer.layout`."""
        source = join_sources(source_folder(), *_DROPS)
        self._drops = self._drops or self._compiled(source, tracer.layout(), "the count of drops")
        return self._drops

    def handle(self, placed: ProgramRef, own: UserProgram | None, *, traced: bool) -> Any:
        """Return the handle that holds a program.

        Raises HostError, with the user's own line, where it does not compile.
        """
        if own is None or not placed.program.startswith("yb_"):
            return self.ours(traced=traced)
        return self.theirs(own, placed.way, traced=traced)

    def theirs(self, own: UserProgram, way: str, *, traced: bool) -> Any:
        """Return the handle of a custom wire for one way.

        Raises HostError as :meth:`handle` does.
        """
        key = (own.source, way, own.xdp, traced)
        if key not in self._own:
            flags = [f"-DYB_WAY={_WAYS.index(way)}", *(_tracing_flags() if traced else ())]
            # what compiled for one way does for the other, where only constants of ours differ
            tried = _WAY not in own.source and any(
                (own.source, other, own.xdp, traced) in self._own for other in _WAYS
            )
            self._own[key] = self._compiled(
                user_source(own, traced=traced), flags, own.name, in_child=not tried
            )
        return self._own[key]

    def load(self, handle: Any, name: str, kind: str, own: UserProgram | None = None) -> Any:
        """Return a loaded program by its C name, ``kind`` SCHED_CLS or XDP.

        Raises HostError with the verifier's words, NoSuchProgram where the text has none of the
        name.
        """
        with _capture_stderr() as said:
            try:
                return handle.load_func(name, getattr(handle, kind))
            except Exception as error:
                if str(error).startswith("Unknown program"):
                    raise NoSuchProgram(
                        f"there is no program {name} in {self.folder.name}"
                    ) from error
                why = printable(verifier_error(said(), own))
                raise HostError(
                    f"the kernel refused the program {name}: {why} ({error})"
                ) from error

    def _compiled(
        self, source: str, flags: Sequence[str], what: str, *, in_child: bool = False
    ) -> Any:
        """Compile a text, what others wrote first ``in_child``.

        What was refused once is not tried again.
        """
        key = (source, *flags)
        if key in self._refused:
            raise self._refused[key]
        try:
            if in_child:
                self._try(source, flags, what)
            return _compile(source, self._flags(flags), what)
        except HostError as refused:
            self._refused[key] = refused
            raise

    def _flags(self, flags: Sequence[str]) -> list[str]:
        return ["-w", f"-I{self.folder}", *self.flags, *flags]

    def _try(self, source: str, flags: Sequence[str], what: str) -> None:
        """Compile what others wrote in a child.

        Raises HostError where that does not go well, or the text includes other people's files.
        """
        compile_it = partial(_bcc(), text=source, cflags=[*self._flags(flags), includes.FLAG])
        try_compiling(compile_it, what, compiler_error, self.folder)


def _write_base(files: Iterable[tuple[str, str]]) -> Path:
    """Return a folder, beside ours, with the programs of the other side."""
    folder = source_folder().with_name("bpf-base")
    folder.mkdir()
    for name, content in files:
        (folder / name).write_text(content)
    return folder


def program_sets() -> dict[str, Programs]:
    """Return the programs by the word that chooses them: what is now, seeing and blind."""
    return {NOW: Programs(), BLIND: Programs(flags=("-DYB_BLIND",))}


def compile_builds(programs: MutableMapping[str, Programs], texts: ProgramBuilds) -> None:
    """Compile what :func:`texts.needed` names; with ``texts.base`` there is another side from then
    on.

    Raises HostError where bcc or its headers are missing.

    A kernel that does not say how its packets are laid out is not traced. What is wrong with a text
    that others wrote (a custom wire, the programs of another time) its trials will say.
    """
    if texts.base:
        programs[BASE] = Programs(_write_base(texts.base))
    seeing = bool(tracer.layout())
    for name in sorted(texts.ours):
        if name != DROPS:
            word = name.removesuffix(TRACED)
            with suppress(HostError) if word == BASE else nullcontext():
                programs[word].ours(traced=seeing and name.endswith(TRACED))
        elif seeing:
            programs[NOW].drops()
    for one, traced in sorted(texts.own):
        with suppress(HostError):
            for way in _WAYS:
                programs[NOW].theirs(one, way, traced=seeing and traced)
    if seeing and any(name == DROPS or name.endswith(TRACED) for name in texts.ours):
        symbol_at(0)  # reads the kernel's symbols, which are asked for where packets are dropped


def join_sources(folder: Path, *files: str) -> str:
    """C files as one text; ``#line`` keeps the compiler's messages in the authors' own files."""
    return "".join(f'#line 1 "{name}"\n{(folder / name).read_text()}\n' for name in files)


def _quoted(name: str) -> str:
    """Return a file's name for #line."""
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _tracing_flags() -> tuple[str, ...]:
    return "-DYB_TRACE", *tracer.layout()


def user_source(own: UserProgram, *, traced: bool = False) -> str:
    """Return a custom wire between our header and the programs that count and call it.

    ``traced``: they record their hits too, each in a record of its own.
    """
    context = "struct xdp_md" if own.xdp else "struct __sk_buff"
    before = "".join(f"static __always_inline int {role}({context} *);\n" for role in own.roles)
    size = "ctx->data_end - ctx->data" if own.xdp else "ctx->len"
    after = "".join(
        f"int yb_{role}({context} *ctx)\n{{\n"
        f"\tyb_count(YB_{role.upper()}_ROW + YB_WAY, {size});\n\treturn {role}(ctx);\n}}\n"
        for role in own.roles
    )
    header = join_sources(source_folder(), *(_TRACER if traced else ()), "yogurt.h")
    return (
        f'{header}{before}#line 1 "{_quoted(own.name)}"\n{own.source}\n#line 1 "generated"\n{after}'
    )


def verifier_error(log: str, own: UserProgram | None) -> str:
    """Return the verifier's reason from its log, and the last line of the user's file in it."""
    said = [
        line for line in log.strip().splitlines() if not re.match(r"processed \d+ insns|\s*$", line)
    ]
    reason = said[-1].strip() if said else "no reason was given"
    if own is None:
        return reason
    lines = dict(enumerate((line.strip() for line in own.source.splitlines()), 1))
    shifted = _shifted_lines(own.source)
    looked_at = [
        shifted.get(int(number), 0) for number in re.findall(rf"@ {re.escape(own.name)}:(\d+)", log)
    ]
    at = next((number for number in reversed(looked_at) if number), None)
    return reason if at is None else f"{own.name}:{at}: {reason}: {lines[at]}"


def _shifted_lines(source: str) -> dict[int, int]:
    """Return the author's line by the line the verifier names.

    Bcc's rewriter begins each function on a line of its own.
    """
    functions = re.finditer(r"^[A-Za-z_][^;{}#]*\([^;{}]*\)\s*\{", source, re.MULTILINE)
    begins = [source.count("\n", 0, function.start()) + 1 for function in functions]
    lines = range(1, source.count("\n") + 2)
    return {line + sum(begin <= line for begin in begins): line for line in lines}


def _bcc() -> Any:
    headers.provide_headers()
    try:
        from bcc import BPF
    except ImportError as error:
        raise HostError(
            "the Python binding of bcc is missing (the distribution's; PyPI's bcc is "
            "something else): "
            f"{install_hints.how_to_get('bcc')}"
        ) from error
    return BPF


def _compile(source: str, flags: Iterable[str], what: str) -> Any:
    bcc = _bcc()
    with _capture_stderr() as said:
        try:
            return bcc(text=source, cflags=list(flags))
        except Exception as error:
            why = printable(compiler_error(said()) or str(error))
            raise HostError(f"bcc could not compile {what}: {why}") from error


def compiler_error(said: str) -> str:
    """Return the compiler's first error, ``file:line:column: (fatal) error: …``, with the line it
    quotes.
    """
    lines = said.splitlines()
    at = next(
        (n for n, line in enumerate(lines) if re.search(r"[^ ]: (fatal )?error: ", line)), None
    )
    return "" if at is None else " | ".join(line.strip() for line in lines[at : at + 2])


@contextmanager
def _capture_stderr() -> Iterator[Callable[[], str]]:
    """Catch what LLVM and libbpf write to file descriptor 2; the yielded call gives it."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    saved = os.dup(2)
    os.dup2(write_end, 2)
    heard = bytearray()

    def said() -> str:
        with suppress(BlockingIOError):
            heard.extend(os.read(read_end, 1 << 20))
        return heard.decode(errors="replace")

    try:
        yield said
    finally:
        os.dup2(saved, 2)
        for descriptor in (saved, read_end, write_end):
            os.close(descriptor)
