"""Install a requirements file into the environment that runs this, wherever the user's pip would
put packages.

``python -I pip_install.py FILE``. Of pip's settings (PIP_… variables and pip.conf) only those count
that say where packages come from and how they are fetched: user, target, prefix, root, constraint
and the like would leave an environment that lacks what the file names.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCES = {
    "cache-dir",
    "cert",
    "client-cert",
    "default-timeout",
    "extra-index-url",
    "find-links",
    "index-url",
    "keyring-provider",
    "no-cache-dir",
    "no-index",
    "proxy",
    "pypi-url",
    "retries",
    "timeout",
    "trusted-host",
    "use-deprecated",
    "use-feature",
}


def main() -> None:
    """Install; the exit code is pip's."""
    argv = [sys.executable, "-I", "-m", "pip", "install", "--quiet", "-r", sys.argv[1]]
    sys.exit(subprocess.run(argv, env=environment(dict(os.environ)), check=False).returncode)


def environment(given: dict[str, str]) -> dict[str, str]:
    """Return the variables to start pip with: no file is read by pip itself, and no other setting
    reaches it.
    """
    others = {name: value for name, value in given.items() if not name.upper().startswith("PIP_")}
    files = [dict(sections(path)) for path in configuration_files(given)]
    found: dict[str, str] = {}
    for section in (
        "global",
        "install",
    ):  # what stands under install wins over what stands under global
        for file in files:
            found.update(file.get(section, {}))
    found.update(
        {
            plain(name[4:]): value
            for name, value in given.items()
            if name.startswith("PIP_") and value
        }
    )
    ours = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }
    kept = {
        f"PIP_{name.upper().replace('-', '_')}": value
        for name, value in found.items()
        if name in SOURCES
    }
    return {**others, **kept, **ours}


def configuration_files(given: dict[str, str]) -> list[Path]:
    """Pip's configuration files in its documented order, the last wins."""
    named = given.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    home = Path(given.get("HOME") or "/nonexistent")
    shared = [
        Path(folder, "pip")
        for folder in (given.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    ]
    own = [home / ".pip", Path(given.get("XDG_CONFIG_HOME") or home / ".config") / "pip"]
    folders = [*shared, Path("/etc"), *([] if named and os.path.exists(named) else own)]
    return [*(folder / "pip.conf" for folder in folders), *([Path(named)] if named else [])]


def sections(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the sections of a configuration file.

    None, and a word on standard error, where it cannot be read.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        print(f"{path}: passed over, it cannot be read ({type(error).__name__})", file=sys.stderr)
        return
    for section in parser.sections():
        yield section, {plain(name): value for name, value in parser.items(section) if value}


def plain(name: str) -> str:
    """Return a setting's name as pip compares it."""
    return name.lower().replace("_", "-").removeprefix("--")


if __name__ == "__main__":
    main()
