"""Compile pairs of path and source, marshalled, from standard input to standard output.

The guest's own Python runs this, where it has no library to speak of, so only what is built into it
can be imported. The bytecode is hash-based and unchecked (PEP 552): a guest believes it whatever
the times of its files are.
"""

import _imp
import marshal
import sys
from _frozen_importlib_external import MAGIC_NUMBER

_UNCHECKED = bytes([1, 0, 0, 0])
#: A format of marshal's that every Python knows.
_FORMAT = 2


def compiled(path: str, source: bytes) -> bytes:
    """Return the content of a .pyc file."""
    code = compile(source, path, "exec", dont_inherit=True)
    digest = _imp.source_hash(int.from_bytes(MAGIC_NUMBER, "little"), source)
    return MAGIC_NUMBER + _UNCHECKED + digest + marshal.dumps(code)


if __name__ == "__main__":
    made = [(path, compiled(path, source)) for path, source in marshal.load(sys.stdin.buffer)]  # noqa: S302
    marshal.dump((sys.implementation.cache_tag, made), sys.stdout.buffer, _FORMAT)
