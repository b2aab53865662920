"""Where we keep what is worth keeping between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache() -> Path:
    """The user's cache folder for yogurtbench; YOGURTBENCH_CACHE overrides it. Not created here."""
    named = os.environ.get("YOGURTBENCH_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("yogurtbench", appauthor=False)
