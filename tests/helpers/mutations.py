"""Texts with a few places changed, for tests that take random inputs."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st


def mutated(
    text: str, data: st.DataObject, pieces: Sequence[str], *, most: int = 40, typed: int = 6
) -> str:
    """A text with up to three stretches, of at most ``most`` characters, replaced by one of the
    ``pieces`` or by at most ``typed`` characters of any kind.
    """
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + most)))
        piece = data.draw(st.sampled_from(pieces) | st.text(max_size=typed))
        text = text[:begin] + piece + text[end:]
    return text
