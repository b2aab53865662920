"""Which files a custom wire may include, from what clang says with -H."""

from __future__ import annotations

from pathlib import Path

import pytest

from yogurtbench.ebpf import includes

SAID = """. /work/bpf/yogurt.h
.. include/uapi/linux/bpf.h
... /usr/src/linux-headers-6.12/include/linux/types.h
. /virtual/include/bcc/helpers.h
"""


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "headers"
    (folder / "include/uapi/linux").mkdir(parents=True)
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(folder))
    return folder


def test_our_header_and_those_of_kernels_are_nobodys_secret() -> None:
    assert list(includes.foreign_includes(SAID, Path("/work/bpf"))) == []
    assert includes.without_includes(SAID + "x.c:1:2: error: no\n").strip() == "x.c:1:2: error: no"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/work/bpf/../secret.h",
        "/work/bpf-other/yogurt.h",
        "include/../../secret.h",
        "/proc/self/environ",
        "/usr/src/../../etc/shadow",
    ],
)
def test_all_else_is_foreign_however_it_is_written(path: str) -> None:
    assert list(includes.foreign_includes(f"{SAID}. {path}\n", Path("/work/bpf"))) == [path]


def test_where_a_link_leads_decides(source: Path) -> None:
    (source / "include/link.h").symlink_to("/etc/passwd")
    assert list(includes.foreign_includes(". include/link.h\n", Path("/work/bpf"))) == [
        "include/link.h"
    ]
