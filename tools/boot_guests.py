"""Boot and save both guests that the tests resume, side by side: each keeps one core busy.

One test after another would make them, while a second test waits for the same one.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor

from yogurtbench.core.builds import COMMON
from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import host, image


def say(words: str) -> None:
    print(words, flush=True)


def start_exact() -> None:
    with host.SnapshotHost("host", say, COMMON):
        pass


def start_timed() -> None:
    with host.host("host", say):
        pass


if __name__ == "__main__":
    try:
        image.ensure(say=say)
        with ProcessPoolExecutor(2) as pool:
            for started in [pool.submit(start_exact), pool.submit(start_timed)]:
                started.result()
    except HostError as error:
        sys.exit(f"the guests cannot be booted: {error}")
