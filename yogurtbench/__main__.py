"""Run the CLI and turn the result into an exit code: ``yogurtbench``, ``python -m yogurtbench``."""

from __future__ import annotations

import os
import sys

from yogurtbench import launch

TYPE_CHECKING = False  # typing.py would be imported from wherever PYTHONPATH says

if TYPE_CHECKING:
    from types import FrameType

    from yogurtbench.core.errors import YogurtError

OURS, INTERRUPTED = 70, 130


def main() -> None:
    """Exit with the contract's codes: 0, 2, 3, 130, 70; only ``check`` and ``compare`` add 1 and 4.

    The code is that of the result, whoever reads what is printed, and whatever else is installed or
    set.
    """
    launch.die_quietly()
    launch.isolate()
    try:
        from yogurtbench.core import output

        output.secure()
        code = _command_line()
        output.finish()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException as error:
        code = _print_internal_error(error)
    sys.exit(code)


def _command_line() -> int:
    from yogurtbench.cli import completion

    return _complete() if completion.VARIABLE in os.environ else run(sys.argv[1:])


def _complete() -> int:
    """Answer a shell that asks what could come next: no command runs, and the exit code is
    Typer's.
    """
    from yogurtbench.cli import completion
    from yogurtbench.cli.app import app

    return completion.print_candidates(lambda: app(prog_name="yogurtbench"))


def run(arguments: list[str]) -> int:
    """Run a command line; its exit code. Never raises."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (
        SystemExit
    ) as error:  # Typer's own for an OSError; from anywhere else it is not known what was not done
        return _print_internal_error(
            error.__context__ if isinstance(error.__context__, OSError) else error
        )
    except Exception as error:
        return _print_internal_error(error)


def _run(arguments: list[str]) -> int:
    from typer.exceptions import TyperException

    from yogurtbench.cli.app import app
    from yogurtbench.core import limits
    from yogurtbench.core.errors import YogurtError

    launch.is_command = True
    _heed_signals()
    try:
        limits.raise_or_refuse()
        return int(app(arguments, prog_name="yogurtbench", standalone_mode=False) or 0)
    except TyperException as error:
        return _print_usage_error(error)
    except (YogurtError, OSError) as error:
        return _print_error(error)


def _print_error(error: YogurtError | OSError) -> int:
    """Print a one-line error. A PermissionError is the machine's, not a bug."""
    from yogurtbench.core import files
    from yogurtbench.core.errors import HostError

    if isinstance(error, OSError) and error.errno not in files.REFUSED:
        return _print_internal_error(error)
    sentence = (
        f"{error.filename or 'this machine'}: {error.strerror or error}"
        if isinstance(error, OSError)
        else error
    )
    print(f"yogurtbench: {sentence}", file=sys.stderr)
    return HostError.exit_code if isinstance(error, OSError) else error.exit_code


def _heed_signals() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, and SIGTERM interrupts as it does.

    When the terminal hangs up, the work goes on without it.
    """
    import signal

    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end_interrupted)
    if (
        signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    ):  # a handler, unlike SIG_IGN, is not inherited by our tools
        signal.signal(signal.SIGHUP, _ignore_broken_pipe)


def _ignore_broken_pipe(_number: int, _frame: FrameType | None) -> None:
    return None


def _end_interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _print_usage_error(error: Exception) -> int:
    """Report a wrong command line: Typer's own words, exit code 2 whatever Typer would have
    chosen.
    """
    show = getattr(error, "show", None)
    if show:
        show()
    else:
        print(f"yogurtbench: {error}", file=sys.stderr)
    return 2


def _print_internal_error(error: BaseException) -> int:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    sentence = f"{type(error).__name__}: {error}{where}"
    print(f"yogurtbench: an error of ours, please report it: {sentence}", file=sys.stderr)
    if os.environ.get("YOGURTBENCH_TRACEBACK"):
        traceback.print_exception(error)
    else:
        print("YOGURTBENCH_TRACEBACK=1 shows the traceback.", file=sys.stderr)
    return OURS


if __name__ == "__main__":
    main()
