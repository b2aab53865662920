"""Start Python so that nothing but this package's own folder and its installed dependencies has a
say.

``python -I -X utf8 launch.py MODULE [ARGUMENT…]`` runs a module of the package that this very file
lies in. ``yb`` starts the command this way, the native host its agent, and the ``yogurtbench``
command starts itself again. ``-I`` keeps out PYTHONPATH, PYTHONHOME, user sites, the current folder
and every other PYTHON… variable. Only what Python has loaded by itself is imported up here:
anything else could, before it is isolated, come from anywhere.
"""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]  # built in, so that nothing foreign is imported
import os
import sys

#: The folder that holds this package: a checkout, or the environment that the package was installed
#: into.
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Where the dependencies lie when an isolated Python would not find them (PYTHONPATH or a user site
#: holds them).
PACKAGES = "YOGURTBENCH_PACKAGES"
#: What must be found for the command to start.
_DEPENDENCY = "typer"

#: Whether this process is a command of ours, not somebody's notebook or program that imports us.
is_command = False


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package in an isolated Python."""
    options = {name: value for name, value in sys._xoptions.items() if name != "utf8"}
    kept = [
        f"{name}={value}" if isinstance(value, str) else name for name, value in options.items()
    ]
    if sys.pycache_prefix:
        kept.append(f"pycache_prefix={sys.pycache_prefix}")
    flags = ["-B"] if sys.dont_write_bytecode else []
    for one in kept:
        flags += ["-X", one]
    return [
        sys.executable,
        "-I",
        "-X",
        "utf8",
        *flags,
        os.path.abspath(__file__),
        module,
        *arguments,
    ]


def isolate() -> None:
    """Go on as the same command in an isolated Python where anything foreign has a say in this one.

    Not under a debugger, which would lose sight of it, nor within ``python -c``, which may have
    more to do.
    """
    if not _is_foreign() or sys.argv[0] == "-c" or sys.gettrace() or not sys.executable:
        return
    elsewhere = _dependencies_elsewhere()
    environment = {**os.environ, PACKAGES: elsewhere} if elsewhere else dict(os.environ)
    try:
        os.execve(sys.executable, command("yogurtbench", *sys.argv[1:]), environment)  # noqa: S606
    except OSError:  # no process can be started: better as it is than not at all
        return


def _is_foreign() -> bool:
    """Return whether the environment changes what is imported, or files are not UTF-8."""
    if not sys.flags.utf8_mode and _locale.getencoding().lower() not in ("utf-8", "utf8"):
        return True
    if sys.flags.isolated:
        return False
    variables = (name for name, value in os.environ.items() if name.startswith("PYTHON") and value)
    user_site = getattr(sys.modules.get("site"), "USER_SITE", None)
    return (
        not sys.flags.safe_path
        or user_site in sys.path
        or any(name not in _HARMLESS for name in variables)
    )


#: Variables of Python that change nothing for us, or that an isolated Python gets as options.
_HARMLESS = {
    "PYTHONCOERCECLOCALE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "PYTHONNOUSERSITE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONSAFEPATH",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
}


def _dependencies_elsewhere() -> str:
    """Return the folder with our dependencies where no isolated Python looks.

    Empty where one finds them by itself.
    """
    foreign = {
        os.path.abspath(entry)
        for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if entry
    }
    site = sys.modules.get("site")
    foreign |= {
        os.path.abspath(str(getattr(site, "USER_SITE", None) or os.curdir)),
        os.path.abspath(os.curdir),
    }
    holding = [
        entry
        for entry in map(os.path.abspath, sys.path)
        if os.path.isdir(os.path.join(entry, _DEPENDENCY))
    ]
    return holding[0] if holding and foreign.issuperset(holding) else ""


def put_on_path(path: list[str], root: str = ROOT, packages: str = "") -> None:
    """Put this package's folder right behind the standard library, ``packages`` last."""
    if root in path:
        path.remove(root)
    installed = [place for place, entry in enumerate(path) if os.path.basename(entry) in _INSTALLED]
    path.insert(installed[0] if installed else len(path), root)
    if packages and packages not in path:
        path.append(packages)


def die_quietly() -> None:
    """Let Ctrl-C end the process by the signal, without a traceback, while it still imports.

    Where it is ignored, as in a shell's background, it stays so.
    """
    if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


_INSTALLED = ("site-packages", "dist-packages")


def main() -> None:
    """Run the module that the command line names, its arguments in ``sys.argv``."""
    die_quietly()
    put_on_path(sys.path, packages=os.environ.get(PACKAGES, ""))
    module = sys.argv.pop(1)
    import runpy

    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
