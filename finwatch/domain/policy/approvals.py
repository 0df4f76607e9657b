"""Approvals: what opens a wait for a decision, what ends it, and who is asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from finwatch.domain.policy.authority import (
    NO_AUTHORITY,
    Absent,
    Authority,
    AuthoritySection,
    FallbackSection,
    compile_authority,
)
from finwatch.domain.policy.conditions import Condition, Opening, check_conditions
from finwatch.domain.policy.section import Duration, Section, Severity, parse_duration

Ending = Literal["approved", "rejected", "withdrawn", "cancelled"]


class ApprovalSection(Section, frozen=True):
    """One approval of one entity: what opens a wait for a decision and what decides it.

    ``matrix``: who should decide where the source names nobody, and in which role; ``fallback``: who decides in the
    end; ``bands``: where amounts are cut for figures, for example ``[1000, 10000]``. See ``authority``.
    """

    entity: str
    step: str
    opens: list[Opening]
    ends: dict[Ending, list[Condition]]
    role: str | None = None
    stuck_after: str | None = None
    severity: Severity = "medium"
    owner: str = "process_owner"
    next_action: str = "Ask the approver to decide, or delegate."
    matrix: list[AuthoritySection] = []
    fallback: FallbackSection | None = None
    bands: list[Decimal] = []

    @property
    def stuck_reason(self) -> str:
        """Why a step of it is stuck, in words."""
        if self.stuck_after is None:
            return "Nobody has decided for longer than the policy allows."
        return f"Nobody has decided within {self.stuck_after}."

    def check(self, path: str) -> None:
        """Raise PolicyError for an empty condition or a duration that is none."""
        check_conditions(self.opens, f"{path}.opens")
        for name, conditions in self.ends.items():
            check_conditions(conditions, f"{path}.ends.{name}")
        if self.stuck_after is not None:
            parse_duration(self.stuck_after, f"{path}.stuck_after")


class ApprovalRule(NamedTuple):
    """A compiled approval."""

    step: str
    role: str | None
    stuck_after: Duration | None
    section: ApprovalSection
    authority: Authority


def compile_approval(section: ApprovalSection, away: Absent, path: str) -> ApprovalRule:
    """The rule of a section. Raises PolicyError."""
    section.check(path)
    stuck = None if section.stuck_after is None else parse_duration(section.stuck_after, f"{path}.stuck_after")
    authority = compile_authority(section.matrix, section.fallback, section.bands, away, path)
    return ApprovalRule(section.step, section.role, stuck, section, authority)


ANY_APPROVAL = ApprovalRule(
    "approval", None, None, ApprovalSection(entity="*", step="approval", opens=[], ends={}), NO_AUTHORITY
)
"""Of an entity for which the policy has no approval: a decision that the source tells of is a step all the same."""
REVIEWS = frozenset({"tier_review", "approval_request"})
"""Kinds of reviews (see ``finwatch.domain.approvals``). They wait also where the policy has no approval for them."""
