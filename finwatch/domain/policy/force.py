"""Which policy is in force: for each source, of all that there are."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from finwatch.domain.policy.compiled import Policy
from finwatch.domain.policy.section import PolicyError


class PolicySet:
    """The policies in force: each source goes by the first whose ``sources`` patterns name it most closely."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        if not policies:
            raise PolicyError("$", "no policy")
        names = [policy.name for policy in policies]
        if len(set(names)) != len(names):
            raise PolicyError("$.policy", "two policies of one name")
        self.policies = tuple(policies)
        self._found: dict[str, Policy] = {}

    def of(self, source: str) -> Policy:
        """The policy of a source. Raises PolicyError when none names it."""
        found = self._found.get(source)
        if found is None:
            best = -1
            for policy in self.policies:
                for pattern in policy.document.sources:
                    weight = len(pattern.replace("*", ""))
                    if fnmatchcase(source, pattern) and weight > best:
                        best, found = weight, policy
            if found is None:
                raise PolicyError("$.sources", "no policy names this source")
            self._found[source] = found
        return found
