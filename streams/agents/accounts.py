"""Bank account numbers: sends each account to its number, and says which numbers different vendors have.

In the documents stage: one fact about an account under the keyed hash of its number, sent again only when what it says
has changed, and withdrawn when the account is archived, deleted, or gets another number. No bill is sent for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import msgspec
from msgspec import Struct, structs

from finwatch.domain.duties.accounts import Held, Number, judge, letters
from finwatch.domain.duties.rules import RULES
from finwatch.domain.events import BankAccount, RelationFact
from finwatch.domain.findings import Subject
from finwatch.domain.policy import Policy, PolicySet
from finwatch.domain.records import Kpi, Relation
from finwatch.domain.verdicts import settle
from finwatch.runtime.topics import RELATION
from streams.agents.publishing import publish
from streams.stage import InvalidEvent, View

ACCOUNT = "account"
_ENCODE = msgspec.json.Encoder().encode


class Shown(Struct, array_like=True):
    """What the relations stage was told of an account. ``since``: when it got its number, ``number`` the hash of it."""

    version: int = 0
    relation_key: str = ""
    checksum: int = 0
    number: str | None = None
    since: int = 0


class Told(Struct):
    """The further facts of an ``account`` relation; see ``Held``."""

    since: int
    firm: str
    vat: str | None
    only_customer: bool
    person: str | None
    made_id: str


_DECODER = msgspec.json.Decoder(Told)


def tell(view: View, event: BankAccount, shown: Shown, made: int, person: str | None, made_id: str) -> None:
    """Send an account, as it is seen now, to its number. ``made``, ``person``: when it was made, by whom.

    Order is the guarantee: it is withdrawn from the number it left before it is put under the one it has.
    """
    firm = event.commercial_partner_id or event.partner_id
    stands = event.op != "d" and event.active is not False and event.account_hash is not None and firm is not None
    number = event.account_hash if stands else None
    if number != shown.number:
        shown.since = event.occurred_at if shown.version else made
        shown.number = number
    key, attributes = "", None
    if number is not None and firm is not None:
        key = f"{ACCOUNT}:{event.source}:{number}"
        only = bool(event.customer_rank) and event.supplier_rank == 0
        attributes = _ENCODE(Told(shown.since, firm, letters(event.vat), only, person, made_id))
    checksum = 0 if attributes is None else crc32(attributes)
    if shown.relation_key == key and shown.checksum == checksum:
        return
    if shown.relation_key and shown.relation_key != key:
        _send(view, event, shown, shown.relation_key, None)
    if attributes is not None:
        _send(view, event, shown, key, attributes.decode())
    shown.relation_key, shown.checksum = key, checksum


def _send(view: View, event: BankAccount, shown: Shown, key: str, attributes: str | None) -> None:
    shown.version += 1
    op = "withdraw" if attributes is None else "put"
    subject = Subject(event.document_key, event.source, event.entity, event.record_id, event.company_id)
    times = (event.timeline, event.occurred_at, event.observed_at, event.event_id)
    fact = Relation(
        ACCOUNT, key, shown.version, op, *subject, *times, None, event.partner_id, None, None, None, None, None,
        attributes,
    )  # fmt: skip
    view.emit(RELATION, key, fact)


class SharedAccounts:
    """Judges a number that more than one account has."""

    relation = ACCOUNT

    def apply(self, view: View, fact: RelationFact, policy: Policy) -> bool:
        """Take one fact, once a version; emit the finding when it changed. Raises InvalidEvent."""
        key = fact.relation_key
        number = view.get(key, Number)
        if number is None:
            number = Number()
        was = number.held.get(fact.document_key)
        if was is not None and fact.version <= was.version:
            return False
        if fact.op == "put":
            try:
                told = _DECODER.decode(fact.attributes or "")
            except msgspec.DecodeError:
                raise InvalidEvent("invalid_event", "its attributes are no facts of a bank account") from None
            number.held[fact.document_key] = Held(
                fact.version, True, told.since, told.firm, told.vat, told.only_customer, told.person,
                fact.company_id, told.made_id,
            )  # fmt: skip
        elif was is not None:
            number.held[fact.document_key] = structs.replace(was, version=fact.version, live=False)
        else:  # what it withdraws is still to come
            nobody = ("", None, False, None, fact.company_id, fact.event_id)
            number.held[fact.document_key] = Held(fact.version, False, 0, *nobody)
        found = judge(number, key, policy.document.duties)
        publish(
            view,
            fact.source,
            settle(number.said, found, RULES, policy.handling, fact.source, policy.label, fact.occurred_at),
        )
        view.put(key, number)
        return True

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """Its counts are kept in the tally, which the stage publishes."""
        return []
