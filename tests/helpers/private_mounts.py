"""Commands in a mount namespace of their own."""

from __future__ import annotations


def with_private_mounts(script: str) -> list[str]:
    """The beginning of a command line: a script whose mounts are seen by it alone.

    What follows are the script's arguments, from ``$1`` on.
    """
    return [*["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec"], script, "sh"]
