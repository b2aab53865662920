"""A base for what a ``with`` block closes at its end."""

from __future__ import annotations

from typing import Self


class Closing:
    """Call ``close()`` at the end of a ``with`` block, however it ends."""

    def close(self) -> None:
        """Release what is held."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()
