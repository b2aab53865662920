import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from yogurtbench.matrix.combinations import combine, idle, size


def values(axes: Any, include: Any = (), exclude: Any = ()) -> list[dict[str, Any]]:
    def listed(point: dict[str, Any]) -> dict[str, list[Any]]:
        return {name: one if isinstance(one, list) else [one] for name, one in point.items()}

    found = combine(
        listed(axes), [listed(one) for one in include], [listed(one) for one in exclude]
    )
    return [one.values for one in found]


def test_the_example_of_githubs_documentation() -> None:
    """https://docs.github.com/actions: "Expanding or adding matrix configurations"."""
    include = [
        {"color": "green"},
        {"color": "pink", "animal": "cat"},
        {"fruit": "apple", "shape": "circle"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]
    assert values({"fruit": ["apple", "pear"], "animal": ["cat", "dog"]}, include) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_exclude_needs_only_a_partial_match() -> None:
    axes = {"os": ["linux", "mac"], "node": [12, 14], "env": ["test", "live"]}
    exclude = [{"os": "mac", "node": 12, "env": "live"}, {"os": "linux", "node": 14}]
    assert len(values(axes, (), exclude)) == 8 - 1 - 2


def test_include_adds_back_what_exclude_took() -> None:
    assert values({"a": [1, 2]}, [{"a": 2}], [{"a": 2}]) == [{"a": 1}, {"a": 2}]


def test_includes_alone_are_each_a_combination() -> None:
    assert values({}, [{"a": 1}, {"a": 1, "b": 2}, {"b": 2}]) == [
        {"a": 1},
        {"a": 1, "b": 2},
        {"b": 2},
    ]


def test_a_list_stands_for_each_of_its_values() -> None:
    assert values({}, [{"a": [1, 2], "b": [3, 4]}]) == values({"a": [1, 2], "b": [3, 4]})
    assert values({"a": [1, 2, 3]}, (), [{"a": [1, 3]}]) == [{"a": 2}]


def test_the_size_is_known_without_the_product() -> None:
    assert size({"a": range(10**6), "b": range(10**6)}) == 10**12  # type: ignore[dict-item]


_AXES = st.dictionaries(
    st.sampled_from("abc"),
    st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    max_size=3,
)
_ENTRY = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 3), min_size=1, max_size=4)


def naive(
    axes: dict[str, list[int]], include: list[dict[str, int]], exclude: list[dict[str, int]]
) -> Any:
    """GitHub's rules, sentence by sentence."""
    original = (
        [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
        if axes
        else []
    )
    original = [
        one for one in original if not any(one.items() >= entry.items() for entry in exclude)
    ]
    result = [dict(one) for one in original]
    extra = []
    for entry in include:
        hit = False
        for index, one in enumerate(original):
            if not any(key in one and one[key] != value for key, value in entry.items()):
                result[index] = {**result[index], **entry}
                hit = True
        if not hit:
            extra.append(entry)
    return result + extra


@given(_AXES, st.lists(_ENTRY, max_size=4), st.lists(_ENTRY, max_size=2))
def test_the_rules_are_githubs(axes: Any, include: Any, exclude: Any) -> None:
    assert values(axes, include, exclude) == naive(axes, include, exclude)


POINTS = st.fixed_dictionaries({}, optional={name: st.integers(0, 2) for name in "abc"})


@given(
    first=st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    includes=st.lists(POINTS, max_size=5),
)
def test_what_an_include_lost_is_noted_and_nothing_else_is(
    first: list[int], includes: list[dict[str, int]]
) -> None:
    given_points = [{name: [value] for name, value in point.items()} for point in includes]
    for one in combine({"a": first}, given_points, []):
        lost = {
            (entry, name)
            for entry in one.entries
            for name, value in includes[entry].items()
            if one.values[name] != value
        }
        assert bool(lost) == any(
            includes[earlier][name] != one.values[name] for earlier, _, name in one.overwritten
        )
        assert all(
            includes[earlier][name] != includes[later][name]
            for earlier, later, name in one.overwritten
        )
        assert lost <= {(earlier, name) for earlier, _, name in one.overwritten}


@given(
    axes=st.dictionaries(
        st.sampled_from("ab"), st.lists(st.integers(0, 3), min_size=1, max_size=3), min_size=1
    ),
    wanted=st.dictionaries(
        st.sampled_from("ab"), st.lists(st.integers(0, 3), min_size=1, max_size=3), min_size=1
    ),
)
def test_an_exclude_is_idle_where_it_takes_nothing_out(
    axes: dict[str, list[int]], wanted: dict[str, list[int]]
) -> None:
    points, whole = idle(axes, wanted)
    known = wanted.keys() <= axes.keys()
    assert whole == (not known or len(combine(axes, [], [wanted])) == len(combine(axes, [], [])))
    for point in points if known else ():
        alone = {name: [value] for name, value in point.items()}
        assert len(combine(axes, [], [alone])) == len(combine(axes, [], []))
