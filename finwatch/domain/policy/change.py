"""The event of a policy that comes into force."""

from __future__ import annotations

from finwatch.domain.identity import deterministic_id
from finwatch.domain.policy.compiled import Policy
from finwatch.domain.policy.differences import differences
from finwatch.domain.records import PolicyChange


def change_record(
    policy: Policy,
    published_at: int,
    previous: Policy | None = None,
    effective_at: int | None = None,
    author: str | None = None,
    reason: str | None = None,
) -> PolicyChange:
    """The change to ``policy``. Instants in epoch microseconds.

    ``effective_at``: by default the day that the policy itself names, else the moment of publishing.
    """
    if effective_at is None:
        effective_at = policy.effective_from if policy.effective_from is not None else published_at
    return PolicyChange(
        deterministic_id("policy", policy.name, policy.content_hash, effective_at, published_at),
        policy.name,
        policy.document.version,
        policy.label,
        policy.content_hash,
        effective_at,
        published_at,
        None if previous is None else previous.label,
        author,
        reason,
        [] if previous is None else differences(previous, policy),
        policy.content.decode(),
    )
