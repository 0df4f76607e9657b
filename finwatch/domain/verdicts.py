"""Verdicts: what a detector says of a group of documents as it stands, and how that becomes findings with versions.

A detector that is given everything it knows of a group returns all its verdicts on it, each a function of those facts
alone. ``settle`` compares them with what was said before: a new verdict opens a finding, a changed one makes a new
version, one that is gone is retracted, since its facts turned out to be others. A deviation that ended by itself is a
verdict with status ``resolved``. So the order in which facts arrive cannot change what stands at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from zlib import crc32

from msgspec import Struct, structs

from finwatch.domain.identity import deterministic_id
from finwatch.domain.policy.handling import Handling
from finwatch.domain.records import Finding
from finwatch.domain.rules import Rule

LIVE = frozenset({"open", "updated"})
_MILLIONTHS = 6


class Verdict(Struct, gc=False):
    """What a rule says. ``about`` tells its finding from the rule's others; instants in epoch microseconds UTC.

    ``amount``: at risk, in ``currency``, signed; ``company_amount``: the same in the company's currency. ``entered``:
    when its first document did, for rules that are exceptions.
    """

    rule: str
    about: tuple[str, ...]
    documents: list[str]
    entity: str
    company_id: str | None
    opened: int
    updated: int
    reasons: list[str]
    evidence: list[str]
    amount: Decimal | None = None
    currency: str | None = None
    resolved: bool = False
    severity: str | None = None  # another one than the policy's
    company_amount: Decimal | None = None
    entered: int = 0


class Said(Struct, array_like=True, gc=False):
    """What was published of a verdict. ``digest`` tells whether it changed; ``counted``: as what it is counted.

    ``last`` is None once its documents are no longer kept: it stands as it is, and its versions go on from there.
    ``entered``, ``excepted``: of rules that are exceptions, when the document entered, and as what it is counted.
    """

    version: int = 0
    status: str = ""
    digest: int = 0
    counted: str = ""
    last: Finding | None = None
    entered: int = 0
    excepted: str = ""
    in_cohort: bool = False


def settle(
    said: dict[str, Said],
    verdicts: Iterable[Verdict],
    rules: Mapping[str, Rule],
    handling: Mapping[str, Handling],
    source: str,
    policy: str,
    at: int,
    only: set[str] | None = None,
    within: str = "",
    forgotten: dict[str, Said] | None = None,
) -> list[tuple[Said, Finding]]:
    """Bring ``said`` in line with the verdicts; returns the findings to publish. ``at``: event time of the change.

    ``only``: the verdicts are all there are on these documents (a finding's first one); the others stand.
    ``within``: the group, for one that documents may leave for another. What is said of them there is another finding:
    the two groups know nothing of each other's versions. ``forgotten``: what ``forget_said`` put aside.
    """
    changed: list[tuple[Said, Finding]] = []
    met = set()
    place = (within,) if within else ()
    for verdict in verdicts:
        how = handling[verdict.rule]
        if not how.report:
            continue
        rule = rules[verdict.rule]
        identity = deterministic_id("finding", rule.detector, rule.id, *verdict.about, *place)
        if identity in met:
            continue
        met.add(identity)
        digest = _digest(verdict)
        was = said.get(identity)
        if was is None:
            was = forgotten.pop(identity) if forgotten and identity in forgotten else Said()
            said[identity] = was
        stands = was.digest == digest and was.status != "retracted"
        if stands and was.last is not None:
            continue
        if not stands:
            was.version += 1
            was.digest = digest
            was.entered = was.entered if was.in_cohort else verdict.entered
            was.status = "resolved" if verdict.resolved else "updated" if was.status in LIVE else "open"
        was.last = Finding(
            identity,
            was.version,
            was.status,
            rule.detector,
            rule.id,
            verdict.severity or how.severity,
            verdict.documents,
            source,
            verdict.entity,
            verdict.company_id,
            rule.title,
            verdict.reasons,
            verdict.evidence,
            verdict.amount,
            verdict.currency,
            None,
            how.owner,
            how.next_action,
            policy,
            None,
            None,
            verdict.opened,
            max(verdict.opened, verdict.updated),
            verdict.company_amount,
        )
        if not stands:
            changed.append((was, was.last))
    for identity, was in said.items():
        if identity in met or was.status == "retracted" or was.last is None:
            continue
        if only is not None and was.last.document_keys[0] not in only:
            continue
        was.version += 1
        was.status = "retracted"
        was.last = structs.replace(
            was.last,
            version=was.version,
            status=was.status,
            policy_version=policy,
            updated_at=max(was.last.opened_at, at),
        )
        changed.append((was, was.last))
    return changed


def forget_said(said: dict[str, Said], forgotten: dict[str, Said], documents: set[str]) -> None:
    """Put aside what was said of documents that are no longer kept: it stands as it is, and is not taken back.

    What is known of its versions stays in ``forgotten``: a document that is heard of again may have it said anew, and
    the largest version is the last word.
    """
    if documents:
        for identity, was in list(said.items()):
            if was.last is not None and not documents.isdisjoint(was.last.document_keys):
                was.last = None
                forgotten[identity] = said.pop(identity)


def _digest(verdict: Verdict) -> int:
    """A short digest of what a verdict says; the time of its last fact alone makes no new version."""
    parts = (
        verdict.documents,
        verdict.reasons,
        verdict.evidence,
        verdict.opened,
        None if verdict.amount is None else str(verdict.amount.normalize()),
        verdict.currency,
        verdict.resolved,
        verdict.severity,
        verdict.updated if verdict.resolved else 0,
        None if verdict.company_amount is None else str(verdict.company_amount.normalize()),
    )
    return crc32(repr(parts).encode())


def money(millionths: int) -> Decimal:
    """An amount from millionths, to two places at least as it came."""
    return Decimal(millionths).scaleb(-_MILLIONTHS).quantize(Decimal("0.01"))


def percent(part: int, whole: int) -> str:
    """``part`` of ``whole`` in percent with one decimal, unsigned."""
    return f"{abs(Decimal(part) * 100 / Decimal(whole)):.1f} %"
