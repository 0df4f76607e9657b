"""Conditions: what a fact must be for a rule to react to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from finwatch.domain.policy.section import PolicyError, Section, Words, words

Activity = Literal[
    "created",
    "submitted",
    "approved",
    "final_approved",
    "rejected",
    "withdrawn",
    "saved",
    "posted",
    "reset",
    "cancelled",
    "payment_requested",
    "paid",
    "received",
    "ordered",
    "changed",
]
"""What a record of a decision or of a change of state can tell."""

ACTIVITIES: frozenset[str] = frozenset((*get_args(Activity), "deleted"))


class Condition(Section, frozen=True):
    """All that is given must match; a list matches any of its words. ``state`` is the state after the fact."""

    activity: Words | None = None
    state: Words | None = None
    before: Words | None = None
    payment_state: Words | None = None
    role: Words | None = None
    decision: Words | None = None


class Opening(Condition, frozen=True):
    """A condition that opens a wait, and the role that is asked."""

    asks: str | None = None


class FactKind(NamedTuple):
    """What a reaction depends on."""

    entity: str
    activity: str
    field: str
    before: str | None
    after: str | None
    role: str | None
    decision: str | None


def matches(condition: Condition, kind: FactKind) -> bool:
    """True when a fact of this kind is all that the condition wants."""
    state = kind.after if kind.field == "state" else None
    before = kind.before if kind.field == "state" else None
    payment_state = kind.after if kind.field == "payment_state" else None
    return all(
        wanted is None or (actual is not None and actual in words(wanted))
        for wanted, actual in (
            (condition.activity, kind.activity),
            (condition.state, state),
            (condition.before, before),
            (condition.payment_state, payment_state),
            (condition.role, kind.role),
            (condition.decision, kind.decision),
        )
    )


def check_conditions(conditions: Iterable[Condition], path: str) -> None:
    """Raise PolicyError for a condition that matches everything, or names no known activity."""
    for i, condition in enumerate(conditions):
        given = (
            condition.activity,
            condition.state,
            condition.before,
            condition.payment_state,
            condition.role,
            condition.decision,
        )
        if all(part is None for part in given):
            raise PolicyError(f"{path}[{i}]", "an empty condition would match everything")
        for activity in words(condition.activity):
            if activity not in ACTIVITIES:
                raise PolicyError(
                    f"{path}[{i}].activity",
                    f"no activity is named {activity!r}; known: {', '.join(sorted(ACTIVITIES))}",
                )
