"""Both sides of a change in one guest: what is measured, what is refused, and what one helper call
more costs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from matrices import cells_of, planned
from own_program import DEARER, MATRIX, NOW, yogurtbench

from yogurtbench.core import builds
from yogurtbench.core.errors import MatrixError
from yogurtbench.plan.plan import Plan
from yogurtbench.runner import ab


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "mine.c").write_text(NOW)
    return planned(tmp_path, MATRIX)


def test_a_program_of_ones_own_is_held_against_its_older_text(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "old.c").write_text(DEARER)
    change = ab.change_of_user_program(plan, tmp_path / "old.c")
    assert {one.program for one in cells_of(change.new)} == {"./mine.c"}
    assert [one.cell for one in change.new.cells] == [one.cell for one in change.old.cells]
    sources = [
        [trial.options["source"] for trial in side.trials("", 0)]
        for side in (change.old, change.new)
    ]
    assert sources == [[DEARER] * 2, [NOW] * 2]


def test_the_programs_of_bpf_are_held_against_an_older_folder_of_them(plan: Plan) -> None:
    change = ab.change_of_programs(plan, Path("old_bpf"))
    assert {one.program for one in cells_of(change.new)} == {"builtin"}
    chosen = [
        [trial.options["programs"] for trial in side.trials("", 0)]
        for side in (change.old, change.new)
    ]
    assert chosen == [[builds.BASE] * 2, [builds.NOW] * 2]
    assert len(builds.BASE) == len(builds.NOW)  # so that the orders are equally long


def test_counts_of_instructions_stand_for_themselves(plan: Plan) -> None:
    """No baseline, no canary, no second block, no trial beside: whoever waits for a merge has no
    time.
    """
    for side in (
        ab.change_of_programs(plan, Path("old")).new,
        ab.change_of_programs(plan, Path("old")).old,
    ):
        assert {(one.role, one.group, one.baselines) for one in side.cells} == {("cell", "", ())}
        assert (side.clock, side.lab, side.blocks.max, side.diagnostics()) == (
            "instructions",
            "vm",
            1,
            [],
        )


@pytest.mark.parametrize(
    ("axes", "words"),
    [("[builtin]", "it has none"), ("[./mine.c, ./other.c]", "it has 2 (./mine.c, ./other.c)")],
)
def test_the_matrix_must_have_one_program_of_its_own(tmp_path: Path, axes: str, words: str) -> None:
    for name in ("mine.c", "other.c", "old.c"):
        (tmp_path / name).write_text(NOW)
    several = planned(tmp_path, MATRIX.replace("[builtin, ./mine.c]", axes))
    with pytest.raises(MatrixError, match="one own program") as told:
        ab.change_of_user_program(several, tmp_path / "old.c")
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            (),
            "nothing to compare with: give --baseline FILE, --base-program FILE or "
            "--base-programs FOLDER",
        ),
        (
            ("--base-program", "a.c", "--base-programs", "."),
            "either --base-program or --base-programs, not both",
        ),
        (("--base-program", "gone.c"), "gone.c: cannot be read (No such file or directory)"),
        (("--base-programs", "gone"), "gone: cannot be read (No such file or directory)"),
        (("--base-programs", "."), "there is no yogurt.h, so these are not the programs of bpf/"),
        (("--base-program", "mine.c", "--baseline", "gone.json"), "gone.json: no such file"),
    ],
)
def test_what_cannot_be_held_against_anything_is_reported_in_one_sentence(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    (tmp_path / "mine.c").write_text(NOW)
    (tmp_path / "m.yaml").write_text(MATRIX)
    done = yogurtbench("check", "m.yaml", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


# --- in the guest ---------------------------------------------------------------------------------
