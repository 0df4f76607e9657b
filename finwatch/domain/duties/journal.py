"""Manual journal entries and write-offs that nobody but their maker has looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from finwatch.domain.documents import CREATED, NAMES_PARTNER, STATE, Content, Fact
from finwatch.domain.duties.acts import Act
from finwatch.domain.events import EntryLine
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Verdict, money

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


def written_off(lines: Sequence[EntryLine], settings: DutiesSection) -> int:
    """What lines put on the policy's write-off accounts, in millionths of the entry's currency, unsigned."""
    if not settings.write_off_accounts:
        return 0
    return abs(sum(line.amount_currency or 0 for line in lines if line.account_id in settings.write_off_accounts))


def by_one_hand(
    key: str, company_id: str | None, content: Content, acts: Mapping[str, Act], settings: DutiesSection, written: int
) -> Iterator[Verdict]:
    """An entry that one person made and posted; of a payment (those name their partner at the head), what it wrote off.

    A line that names a partner changes what that partner owes or is owed: then it is a write-off or a correction of a
    balance, else an adjustment of the books. ``written``: see ``written_off``. Odoo's wizard for payments books a
    difference that is to be taken as paid as a line of the payment's own entry, which it makes and posts at once: no
    row of the log tells who posted it, since nobody else could.
    """
    made, posted = acts.get(MADE), acts.get(POSTED)
    if content.partner_id is not None:
        if written and content.state == "posted" and made is not None:
            yield from _with_payment(key, company_id, content, made, posted or made, settings, written)
        return
    if made is None or posted is None or content.state != "posted":
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


def _with_payment(
    key: str, company_id: str | None, content: Content, made: Act, posted: Act, settings: DutiesSection, written: int
) -> Iterator[Verdict]:
    """What one person wrote off with a payment. At risk is that, and not the payment."""
    amount = money(written)
    if not settings.one_hand(made.person, posted.person) or amount < settings.journal_min_amount:
        return
    in_company = None
    if content.amount and content.company_amount is not None:
        in_company = (amount * abs(content.company_amount / content.amount)).quantize(Decimal("0.01"))
    yield Verdict(
        "write_off_by_one_hand",
        (key,),
        [key],
        "entry",
        company_id,
        posted.at,
        posted.at,
        ["One person made the payment and wrote off a difference with it."],
        [made.event_id] if made.event_id == posted.event_id else [made.event_id, posted.event_id],
        amount,
        content.currency,
        company_amount=in_company,
    )
