"""Blocks of duplicate candidates: the bills of one company and vendor under one normalised reference.

A block takes each version of a document's fact once, in any order between documents, and ends in the same pairs. It
holds at most ``cap`` documents; what comes beyond is not compared, but counted and shown.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from finwatch.domain.calendar import DAY, moment
from finwatch.domain.duplicates.references import reference
from finwatch.domain.findings import DUPLICATES
from finwatch.domain.identity import pair_finding_id
from finwatch.domain.policy import DuplicatesSection
from finwatch.domain.records import Finding

EXACT, NORMALISED = "exact_reference", "normalised_reference"


class Candidate(Struct, array_like=True, gc=False):
    """A document in a block. ``version`` is of the fact last applied; ``present`` False once it was withdrawn."""

    version: int
    present: bool
    reference: str
    document_type: str | None
    date: int | None
    amount: Decimal | None
    currency: str | None
    created_at: int
    at: int
    event_id: str
    reversed_key: str | None = None


class PairState(Struct, array_like=True, gc=False):
    """What was said of a pair: the finding's life."""

    version: int = 0
    status: str = ""
    rule: str = ""
    score: float = 0.0
    opened: int = 0
    counted: str = ""


class Block(Struct, array_like=True):
    """One block: candidates by document key, pairs by ``low|high``, and how many candidates found no room."""

    candidates: dict[str, Candidate] = {}
    pairs: dict[str, PairState] = {}
    dropped: int = 0


class Pair(Struct):
    """A pair that has to be published."""

    later: str
    earlier: str
    state: PairState
    at: int


def put(block: Block, key: str, candidate: Candidate, settings: DuplicatesSection) -> list[Pair] | None:
    """Take one version of a document's fact. Returns the pairs that changed; None when it was known before."""
    known = block.candidates.get(key)
    if known is not None and known.version >= candidate.version:
        return None
    if known is None:
        if not candidate.present:
            return []  # it was over the cap, or it came and went: nothing was said of it
        if len(block.candidates) >= settings.block_cap:
            gone = next((k for k, c in block.candidates.items() if not c.present), None)
            if gone is None:
                block.dropped += 1
                return []
            del block.candidates[gone]
    block.candidates[key] = candidate
    changed = []
    for other_key, other in block.candidates.items():
        if other_key == key:
            continue
        pair = f"{key}|{other_key}" if key < other_key else f"{other_key}|{key}"
        state = block.pairs.get(pair)
        found = match(key, candidate, other_key, other, settings) if candidate.present and other.present else None
        if found is None:
            if state is None or state.status == "retracted":
                continue
            state.status = "retracted"
        else:
            rule, score = found
            if state is None:
                state = block.pairs[pair] = PairState()
            if state.status in ("open", "updated"):
                if (state.rule, state.score) == (rule, score):
                    continue
                state.status = "updated"
            else:
                state.status, state.opened = "open", max(candidate.at, other.at)
            state.rule, state.score = rule, score
        # Both documents' versions grow wherever they go, so the pair's grows too, whatever block speaks of it next.
        state.version = candidate.version + other.version
        later, earlier = (key, other_key) if _order(key, candidate) > _order(other_key, other) else (other_key, key)
        changed.append(Pair(later, earlier, state, max(candidate.at, other.at)))
    return changed


def match(
    key: str, one: Candidate, other_key: str, other: Candidate, settings: DuplicatesSection
) -> tuple[str, float] | None:
    """The rule by which two documents look like one, and how surely; None when they do not. Symmetrical.

    Odoo's own rule is the exact one: same type, same reference, and same year of the document date or a date missing.
    """
    if one.document_type != other.document_type or one.reversed_key == other_key or other.reversed_key == key:
        return None
    if settings.same_year and one.date is not None and other.date is not None and _year(one.date) != _year(other.date):
        return None
    a, b = reference(one.reference), reference(other.reference)
    if a.printed == b.printed:
        rule, score = EXACT, 0.9
    elif a.joined == b.joined or a.padded == b.padded:
        rule, score = NORMALISED, 0.8
    else:
        return None
    if one.amount is not None and other.amount is not None and one.currency == other.currency:
        score += 0.09 if one.amount == other.amount else -0.3
    return rule, round(score, 2)


def pair_finding(
    block: Block, pair: Pair, source: str, entity: str, company_id: str | None, settings: DuplicatesSection, policy: str
) -> Finding:
    """The finding of a pair, the later document first. The amount at risk is the later document's."""
    later, earlier = block.candidates[pair.later], block.candidates[pair.earlier]
    state = pair.state
    same_amount = later.amount is not None and later.amount == earlier.amount and later.currency == earlier.currency
    reasons = [
        "Same company, vendor and type of document.",
        "The reference is the same."
        if state.rule == EXACT
        else "The reference is the same but for case, punctuation, leading zeros or characters read for one another.",
        "The amount is the same." if same_amount else "The amount differs.",
    ]
    if later.date is not None and later.date == earlier.date:
        reasons.append("The document date is the same.")
    if state.status == "retracted":
        reasons.append("Withdrawn: one of them was cancelled, reversed, deleted or corrected.")
    return Finding(
        pair_finding_id(DUPLICATES, pair.later, pair.earlier),
        state.version,
        state.status,
        DUPLICATES,
        state.rule,
        settings.severity,
        [pair.later, pair.earlier],
        source,
        entity,
        company_id,
        "Two bills look like one",
        reasons,
        [earlier.event_id, later.event_id],
        later.amount,
        later.currency,
        state.score,
        settings.owner,
        settings.next_action,
        policy,
        None,
        None,
        state.opened,
        pair.at,
    )


def _order(key: str, candidate: Candidate) -> tuple[int, str]:
    return candidate.created_at, key


def _year(day: int) -> int:
    return moment(day * DAY).year
