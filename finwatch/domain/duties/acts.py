"""Who did which duty on a document: read off its facts, as the source's own log tells them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from finwatch.domain.documents import CREATED, PAYMENT_STATE, STATE, Fact


class Act(Struct, array_like=True, gc=False):
    """Who did something, when (epoch microseconds UTC), and the event that says so."""

    person: str
    at: int
    event_id: str


_MADE = {"purchase_order": "request_order", "bill": "enter_bill"}
_DECIDED = {
    "purchase_order": ("approve_order", frozenset({"purchase"})),
    "bill": ("approve_bill", frozenset({"posted"})),
    "receipt": ("receive_goods", frozenset({"done"})),
}
_PAID = frozenset({"partial", "in_payment", "paid"})
_MATCHED = ("in_payment", "paid")
"""What Odoo's Accounting app makes of a bill when its payment is matched with the bank; Community has no such step."""


def acts_of(entity: str, facts: Sequence[Fact], known: dict[str, Act]) -> dict[str, Act]:
    """The acts on a document; ``known``: those of facts that are no longer kept.

    Odoo has no field for who posted, approved or paid: ``write_uid`` is the last writer, an order's ``user_id`` its
    buyer. The log's row of the change of status names the person. A document's latest decision counts, and its first
    payment: what follows is reconciliation, by whoever matched the payment with the bank last.
    """
    found = dict(known)
    made, decided = _MADE.get(entity), _DECIDED.get(entity)
    paid: Act | None = None
    for fact in facts:
        if fact.actor is None:
            continue
        if fact.activity == CREATED:
            if made is not None:
                found[made] = Act(fact.actor, fact.at, fact.event_id)
        elif not fact.tracked or fact.after is None:
            continue
        elif fact.field == STATE:
            if decided is not None and fact.after in decided[1] and fact.before != "done":
                found[decided[0]] = Act(fact.actor, fact.at, fact.event_id)
        elif fact.field == PAYMENT_STATE and entity == "bill":
            if (fact.before, fact.after) == _MATCHED:
                found["reconcile_payment"] = Act(fact.actor, fact.at, fact.event_id)
            elif fact.after in _PAID:
                paid = paid or Act(fact.actor, fact.at, fact.event_id)
                if fact.after == "in_payment":
                    found.pop("reconcile_payment", None)  # it was taken back from the bank's line
            elif fact.after == "not_paid":
                paid = None  # the payment was taken back
                found.pop("release_payment", None)
                found.pop("reconcile_payment", None)
    if paid is not None:
        before = found.get("release_payment")
        found["release_payment"] = paid if before is None or paid.at < before.at else before
    return found
