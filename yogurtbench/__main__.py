"""``python -m yogurtbench`` and the ``yogurtbench`` command: runs the CLI and turns what happened into an exit code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from yogurtbench import completion
from yogurtbench.records import HostError, YogurtError

OURS, INTERRUPTED = 70, 130


def main() -> None:
    """Exit with the contract's codes: 0, 2, 3, 130, 70; only ``check`` and ``compare`` add 1 and 4."""
    sys.exit(_complete() if completion.VARIABLE in os.environ else run(sys.argv[1:]))


def _complete() -> int:
    """A shell asks what could come next: no command runs, and the exit code is Typer's."""
    from yogurtbench.cli import app

    return completion.answer(lambda: app(prog_name="yogurtbench"))


def run(arguments: list[str]) -> int:
    """The exit code of a command line; never raises."""
    from typer.exceptions import TyperException

    from yogurtbench.cli import app

    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return int(app(arguments, prog_name="yogurtbench", standalone_mode=False) or 0)
    except TyperException as error:
        return _refused(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        return _unheard()
    except (YogurtError, OSError) as error:
        return _told(error)
    except Exception as error:
        return _ours(error)


def _told(error: YogurtError | OSError) -> int:
    """A sentence for the person. What the machine refuses, wherever we met it, is no error of ours."""
    from yogurtbench import files

    if isinstance(error, OSError) and error.errno not in files.REFUSED:
        return _ours(error)
    sentence = f"{error.filename or 'this machine'}: {error.strerror or error}" if isinstance(error, OSError) else error
    print(f"yogurtbench: {sentence}", file=sys.stderr)
    return HostError.exit_code if isinstance(error, OSError) else error.exit_code


def _unheard() -> int:
    """The reader of our output left, and nobody is there to be told: fine, where Typer would exit with 1."""
    sys.stderr.close()
    return 0


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _refused(error: Exception) -> int:
    """A wrong command line: Typer's own words, exit code 2 whatever Typer would have chosen."""
    show = getattr(error, "show", None)
    if show:
        show()
    else:
        print(f"yogurtbench: {error}", file=sys.stderr)
    return 2


def _ours(error: Exception) -> int:
    import traceback

    where = traceback.extract_tb(error.__traceback__)[-1]
    sentence = f"{type(error).__name__}: {error} (at {os.path.basename(where.filename)}:{where.lineno})"
    print(f"yogurtbench: an error of ours, please report it: {sentence}", file=sys.stderr)
    if os.environ.get("YOGURTBENCH_TRACEBACK"):
        traceback.print_exception(error)
    else:
        print("YOGURTBENCH_TRACEBACK=1 shows the traceback.", file=sys.stderr)
    return OURS


if __name__ == "__main__":
    main()
