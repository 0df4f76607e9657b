"""How a rule declares itself: what it looks for, in what, under which settings, and what it says when it finds it.

Every rule of the detectors that put documents side by side is one ``Rule`` beside its code; the rule book is made of
them, and a test runs each one's example.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One rule. ``inputs``: entities and fields it reads; ``policy_keys``: paths of its settings in a policy file.

    ``finding``: its reason in words, as a finding gives it (``{}`` stands for what differs); ``example``: a case in
    words, which the test of the same name plays. Owner, severity and next action stand in the policy's ``handling``.
    """

    id: str
    detector: str
    title: str
    meaning: str
    inputs: tuple[str, ...]
    policy_keys: tuple[str, ...]
    finding: str
    example: str


def book(*rules: Rule) -> dict[str, Rule]:
    """Rules by id. Raises ValueError for two of one id."""
    found = {rule.id: rule for rule in rules}
    if len(found) != len(rules):
        raise ValueError("two rules of one id")
    return found
