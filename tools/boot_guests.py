"""Boot and save both guests that the tests resume, side by side: each keeps one core busy.

One test after another would make them, while a second test waits for the same one.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor

from yogurtbench.core.builds import COMMON
from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import accelerator, image, overlay, snapshot


def say(words: str) -> None:
    print(words, flush=True)


def boot_exact() -> None:
    guest = image.ensure(say=say)
    snapshot.ensure_snapshot(guest, overlay.build_overlay(guest), COMMON, say).close()


def boot_emulated() -> None:
    guest = image.ensure(say=say)
    if accelerator.probe_accelerator(guest, say=say).accelerator == "tcg":
        snapshot.start_emulated(guest, overlay.build_overlay(guest), say).close()


if __name__ == "__main__":
    try:
        image.ensure(say=say)
        with ProcessPoolExecutor(2) as pool:
            for made in [pool.submit(boot_exact), pool.submit(boot_emulated)]:
                made.result()
    except HostError as error:
        sys.exit(f"the guests cannot be booted: {error}")
