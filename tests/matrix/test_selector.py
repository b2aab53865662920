from pathlib import Path

import pytest
from matrices import cell, planned

from yogurtbench.core.errors import MatrixError
from yogurtbench.matrix.selector import Selector, find_cell

TEXT = """\
name: t
axes: {hook: [netkit_peer, tcx_ingress], payload: [64, 1400], cpus: [same, [0, 1]]}
loads: [ping]
"""


def test_every_axis_named_has_to_match_one_of_its_words() -> None:
    selector = Selector("hook=netkit_peer|tcx_ingress, payload=64")
    assert selector.matches(cell())
    assert selector.matches(cell(hook="tcx_ingress"))
    assert not selector.matches(cell(hook="tcx_egress"))
    assert not selector.matches(cell(payload=65))


def test_an_axis_may_be_repeated() -> None:
    selector = Selector("hook=netkit_peer,hook=tcx_ingress")
    assert selector.matches(cell())
    assert selector.matches(cell(hook="tcx_ingress"))


def test_values_have_their_types() -> None:
    assert Selector("cpus=0:1").matches(cell(cpus=(0, 1)))
    assert Selector("kernel=6.12").matches(cell(kernel="6.12"))
    assert Selector("ip=6").matches(cell(ip=6))
    assert not Selector("payload=64").matches(cell(load="reachability"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a selector: write axis=word"),
        ("hook", "'hook' is not a selector"),
        ("hok=x", "there is no axis 'hok': did you mean hook?"),
        ("hook=tcx_ingres", "hook does not know 'tcx_ingres': did you mean tcx_ingress?"),
        ("hook=", "hook does not know ''"),
        ("payload=many", "payload takes a whole number, not the word 'many'"),
        ("payload=9999999", "payload 9999999 is out of range"),
        ("cpus=0", "cpus takes same, split, free or [client, server]"),
    ],
)
def test_mistakes_are_reported_like_the_matrixs(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is checked below
        Selector(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hook=tcx_egress", "has hook=tcx_egress; its hook: netkit_peer, tcx_ingress"),
        ("payload=65", "has payload=65; its payload: 64, 1400"),
        ("hook=netkit_peer,cpus=1:0", "has hook=netkit_peer,cpus=1:0; its cpus: same, 0:1"),
    ],
)
def test_what_no_cell_has_is_reported_with_what_they_have(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(MatrixError) as caught:
        planned(tmp_path, TEXT, only=text)
    assert str(caught.value).endswith(
        f"--only: no cell of the matrix {said}".partition("no cell")[2]
    )
    with pytest.raises(MatrixError) as caught:
        planned(tmp_path, TEXT + f"gate: ['{text}']\n")
    assert said in str(caught.value) and ":4:" in str(caught.value)


def test_words_that_no_cell_has_at_once(tmp_path: Path) -> None:
    text = TEXT + "exclude: [{hook: netkit_peer, payload: 64}]\n"
    with pytest.raises(
        MatrixError, match="no cell of the matrix has hook=netkit_peer,payload=64 together"
    ):
        planned(tmp_path, text, only="hook=netkit_peer,payload=64")


def test_a_cell_is_found_by_id_beginning_or_selector(tmp_path: Path) -> None:
    plan = planned(tmp_path, TEXT)
    wanted = plan.cells[0].cell
    assert find_cell(plan, wanted.id) == wanted
    assert find_cell(plan, wanted.id[:5]) == wanted
    assert find_cell(plan, "hook=netkit_peer,payload=64,cpus=same") == wanted


def test_a_canary_does_not_make_its_baseline_ambiguous(tmp_path: Path) -> None:
    plan = planned(tmp_path, TEXT + "baseline: {device: veth, topology: direct}\n")
    assert find_cell(plan, "device=veth,payload=64,cpus=same").device == "veth"


def test_none_or_several_are_reported_with_the_candidates(tmp_path: Path) -> None:
    plan = planned(tmp_path, TEXT)
    with pytest.raises(
        MatrixError,
        match=r"--cell: 'payload=64' is 4 cells of t, name one: [0-9a-f]{12} \(payload=64",
    ):
        find_cell(plan, "payload=64")
    with pytest.raises(MatrixError, match=r"--cell: no cell of t is 'ffff'; it has [0-9a-f]{12} "):
        find_cell(plan, "ffff")
    with pytest.raises(MatrixError, match=r"--cell: there is no axis 'hok': did you mean hook\?"):
        find_cell(plan, "hok=x")


def test_a_near_miss_is_answered_with_what_was_meant(tmp_path: Path) -> None:
    plan = planned(tmp_path, TEXT)
    wanted = plan.cells[0].cell
    wrong = wanted.id[:-1] + ("0" if wanted.id[-1] != "0" else "1")
    with pytest.raises(
        MatrixError, match=rf"no cell of t is '{wrong}': did you mean {wanted.id} \("
    ):
        find_cell(plan, wrong)
    with pytest.raises(
        MatrixError,
        match=r"no cell of t is 'hook=tcx_egress,payload=64': did you mean [0-9a-f]{12} "
        r"\(.*payload=64",
    ):
        find_cell(plan, "hook=tcx_egress,payload=64")
    with pytest.raises(
        MatrixError, match=r"'netkit_pear' is not a selector.*: did you mean hook=netkit_peer\?"
    ):
        find_cell(plan, "netkit_pear")


def test_cells_that_share_one_network_are_one_to_who_asks_for_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, TEXT)
    assert find_cell(plan, "hook=tcx_ingress").hook == "tcx_ingress"
