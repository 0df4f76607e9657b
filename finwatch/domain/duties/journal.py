"""Manual journal entries and write-offs that nobody but their maker has looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from finwatch.domain.documents import CREATED, NAMES_PARTNER, STATE, Content, Fact
from finwatch.domain.duties.acts import Act
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Verdict

MADE, POSTED = "make_entry", "post_entry"


def hands_of(facts: Sequence[Fact]) -> dict[str, Act]:
    """Who made an entry and who posted it last, as far as the source's log tells.

    What the source posts in the transaction that makes it (payments, exchange differences, stock) leaves no row in the
    log: so who posted by hand is known, and nothing is said of the rest.
    """
    found: dict[str, Act] = {}
    for fact in facts:
        if fact.actor is None:
            continue
        if fact.activity == CREATED:
            found[MADE] = Act(fact.actor, fact.at, fact.event_id)
        elif fact.tracked and fact.field == STATE and fact.after == "posted":
            found[POSTED] = Act(fact.actor, fact.at, fact.event_id)
    return found


def by_one_hand(
    key: str, company_id: str | None, content: Content, acts: Mapping[str, Act], settings: DutiesSection
) -> Iterator[Verdict]:
    """An entry of no payment (those name their partner at the head) that one person made and posted.

    A line that names a partner changes what that partner owes or is owed: then it is a write-off or a correction of a
    balance, else an adjustment of the books.
    """
    made, posted = acts.get(MADE), acts.get(POSTED)
    if made is None or posted is None or content.state != "posted" or content.partner_id is not None:
        return
    if not settings.one_hand(made.person, posted.person):
        return
    if content.amount is not None and abs(content.amount) < settings.journal_min_amount:
        return
    balance = NAMES_PARTNER in content.marks
    yield Verdict(
        "write_off_by_one_hand" if balance else "journal_entry_by_one_hand",
        (key,),
        [key],
        "entry",
        company_id,
        posted.at,
        posted.at,
        [
            "One person made and posted an entry that changes a partner's balance."
            if balance
            else "One person made and posted the entry."
        ],
        [made.event_id] if made.event_id == posted.event_id else [made.event_id, posted.event_id],
        content.amount,
        content.currency,
        company_amount=content.company_amount,
    )
