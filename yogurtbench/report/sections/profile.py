"""What a profile says, in sentences."""

from __future__ import annotations

from yogurtbench.core.labels import group_digits, load_name
from yogurtbench.profile.profile import Difference, Profile, differences

#: Functions that a sentence names.
_NAMED = 3


def answer(profile: Profile, against: Profile | None) -> str:
    """Return the answer in a sentence or two."""
    first = _first(profile)
    if against is None:
        costly = [
            f"{one.function.name} ({group_digits(one.self)})" for one in profile.functions[:_NAMED]
        ]
        return f"{first}; the costliest functions by themselves: {', '.join(costly)}."
    more = profile.instructions - against.instructions
    word = "more than" if more > 0 else "fewer than" if more < 0 else "as many as"
    found = differences(profile, against)
    what = "" if against.median else " (a request that is not answered)"
    second = f"{first}, {group_digits(abs(more)) + ' ' if more else ''}{word} over "
    second += against.name + what
    if not found:
        return f"{second}; every function takes as many."
    return f"{second}: {', '.join(map(difference_words, found[:_NAMED]))}."


def _first(profile: Profile) -> str:
    name, whole = profile.name, group_digits(profile.instructions)
    if profile.median is not None:
        return f"A round trip over {name} takes {whole} guest instructions"
    sites = profile.drop_sites
    where = f" until {' and '.join(sites)} drops it" if sites else ""
    return f"{name} carries nothing: sending a request takes {whole} guest instructions{where}"


def difference_words(one: Difference) -> str:
    """Return a difference as in ``netkit_xmit +294``."""
    return f"{one.name} {group_digits(one.self, sign='+')}"


def notes(profile: Profile, against: Profile | None) -> list[str]:
    """Return how each profile was made and what is not in it, a sentence each."""
    sides = [profile, *([against] if against else [])]
    return [sentence for one in sides for sentence in _notes(one, named=against is not None)]


def _notes(profile: Profile, *, named: bool) -> list[str]:
    trips = profile.trips
    if profile.median is None:
        return [
            f"{profile.name}: one UDP datagram of the agent's own on Linux "
            f"{profile.kernel}, from its system call to the return from it."
        ]
    name = f"{profile.name}: " if named else ""
    load = load_name(profile.cell.load)
    others = len(trips.all) - trips.equal
    found = [
        f"{name}{load} on Linux {profile.kernel}, {len(trips.all)} round trips between two marks; "
        f"{trips.equal} of them executed exactly the same, and are shown.",
        f"{name}The other {others} were disturbed by the timer's ticks, or the scheduler decided "
        f"otherwise: on average of all, {group_digits(trips.ticks, '.0f')} instructions a round "
        "trip more.",
        f"{name}{load} itself measured a median of {group_digits(profile.median)}.",
    ]
    if profile.cut:
        found.append(f"{name}Of {profile.cut:.2%} of the instructions the callers are not known.")
    return found
