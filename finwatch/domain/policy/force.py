"""Which policy is in force: for each source, of all that there are, at each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from finwatch.domain.policy.compiled import Policy
from finwatch.domain.policy.section import PolicyError


class Version(NamedTuple):
    """A policy, and from when on (epoch microseconds, in the time of the documents' events) it is in force."""

    start: int
    policy: Policy


class PolicySet:
    """The policies that there are to begin with. Two of one name must be in force from different times.

    A source goes by the policy whose ``sources`` patterns name it most closely. Raises PolicyError.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        if not policies:
            raise PolicyError("$", "no policy")
        names = [(policy.name, policy.effective_from) for policy in policies]
        if len(set(names)) != len(names):
            raise PolicyError("$.policy", "two policies of one name; give the later one an effective_from of its own")
        self.policies = tuple(policies)
        self.versions = tuple(Version(policy.effective_from or 0, policy) for policy in policies)
        self._found: dict[str, tuple[Version, ...]] = {}

    def in_force(self, source: str) -> tuple[Version, ...]:
        """The policies of a source, one after the other; the first from the beginning. Raises PolicyError."""
        found = self._found.get(source)
        if found is None:
            found = self._found[source] = tuple(succession(source, self.versions))
        return found

    def of(self, source: str) -> Policy:
        """The last policy of a source. Raises PolicyError when none names it."""
        return self.in_force(source)[-1].policy


def succession(source: str, versions: Iterable[Version]) -> list[Version]:
    """Which policies a source goes by, one after the other; the first from the beginning.

    Of each name the version that started last is in force (of two that start together the later in ``versions``); of
    those the one that names the source most closely. Raises PolicyError when none names it.
    """
    named = [(version, weight) for version in versions if (weight := _weight(source, version.policy)) >= 0]
    if not named:
        raise PolicyError("$.sources", f"no policy names the source {source!r}")
    found: list[Version] = []
    known: dict[str, tuple[Policy, int]] = {}
    for version, weight in sorted(named, key=lambda pair: pair[0].start):
        known[version.policy.name] = (version.policy, weight)
        policy, _ = max(known.values(), key=lambda pair: pair[1])
        start = version.start if found else 0
        if found and found[-1].start == start:
            found.pop()
        if not found or found[-1].policy is not policy:
            found.append(Version(start, policy))
    return found


def _weight(source: str, policy: Policy) -> int:
    """How closely a policy names a source: letters of its longest pattern that fits; -1 for not at all."""
    return max(
        (len(p.replace("*", "")) for p in policy.document.sources if fnmatchcase(source, p)),
        default=-1,
    )
