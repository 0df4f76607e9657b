"""Duties and misuse beyond one order: conflicts on a bill, a vendor's accounts and payments, a person's documents.

In the documents stage: findings about one bill, and facts for the relations stage, each sent again only when what it
says has changed. In the relations stage: vendors and persons. Orders with their bills are in ``streams.agents.orders``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from zlib import crc32

import msgspec
from msgspec import Struct, structs

from finwatch.domain.documents import PAYMENT_STATE, SAME_CHANGE
from finwatch.domain.duties import conflicts, journal, people, vendors
from finwatch.domain.duties.acts import Act, acts_of
from finwatch.domain.duties.people import Override, Person, Request
from finwatch.domain.duties.rules import RULES
from finwatch.domain.duties.vendors import Account, BankChange, Billing, Block, Payment, Record, Vendor
from finwatch.domain.events import BankAccount, Entry, Event, Feedback, PurchaseOrder, RelationFact, Transition
from finwatch.domain.events import Payment as PaymentEvent
from finwatch.domain.events import Vendor as VendorEvent
from finwatch.domain.findings import Subject
from finwatch.domain.policy import Policy, PolicySet
from finwatch.domain.records import Kpi, Relation
from finwatch.domain.verdicts import Said, settle
from finwatch.runtime.topics import RELATION
from streams.agents import accounts
from streams.agents.detector import Change
from streams.agents.publishing import publish, tell
from streams.stage import InvalidEvent, View

VENDOR, PERSON = "vendor", "person"
_PAID = frozenset({"partial", "in_payment", "paid"})
_PAYING = frozenset({"in_process", "paid", "posted"})
_ASKED = frozenset({"to approve", "purchase", "done"})
_ENCODE = msgspec.json.Encoder().encode
_CHANGES_KEPT = 20
_IDS_KEPT = 40
_ID = 12
_VENDOR_FIELDS = frozenset({"name", "vat", "parent_id"})
"""Fields of a vendor whose changes the log tells, and that say who it is."""


class Sent(Struct, array_like=True):
    """What the relations stage was told of a document: under which key, and a checksum of it."""

    version: int = 0
    relation_key: str = ""
    checksum: int = 0


class Told(Struct, omit_defaults=True):
    """The further facts of a ``vendor`` or ``person`` relation; which are given depends on the entity."""

    at: int = 0
    person: str | None = None
    account: str | None = None
    changes: list[BankChange] = []
    bills: list[str] = []
    hands: dict[str, str] = {}
    company_amount: Decimal | None = None
    blocks: list[Block] = []
    firm: str | None = None
    accounts: list[str] = []


_DECODER = msgspec.json.Decoder(Told)


class BillDuties:
    """Conflicts among who entered, approved and paid one bill."""

    entities = frozenset({"bill"})
    watches_history = True

    def changed(self, change: Change) -> None:
        """Look at a bill once it is paid."""
        key = f"y:{change.subject.document_key}"
        row = change.view.get(key, BillRow)
        paid = change.machine.payment_state in _PAID and not change.deleted and change.content.state == "posted"
        if not paid and row is None:
            return
        section, content, subject = change.policy.document.duties, change.content, change.subject
        if row is None and not section.same_person:
            people = [fact.actor for fact in change.facts if fact.actor is not None]
            if len(set(people)) == len(people):
                return  # nobody did two things: what nearly every bill looks like
        acts = acts_of("bill", change.facts, {} if row is None else row.acts)
        about = crc32(repr((content.amount, content.currency, content.document_type, paid)).encode())
        if row is not None and row.acts == acts and row.about == about:
            return
        found = (
            conflicts.on_bill(
                subject.document_key,
                subject.company_id,
                acts,
                content.amount,
                content.currency,
                section,
                content.company_amount,
            )
            if paid and content.document_type != "in_refund"
            else ()
        )
        said = {} if row is None else row.said
        changed = settle(
            said, found, RULES, change.policy.handling, subject.source, change.policy.label, change.occurred_at
        )
        if said:
            publish(change.view, subject.source, changed)
            change.view.put(key, BillRow(acts, said, about))


class BillRow(Struct, array_like=True):
    """Who did what on a bill of which something was said."""

    acts: dict[str, Act] = {}
    said: dict[str, Said] = {}
    about: int = 0  # a checksum of what else the verdicts rest on


class EntryDuties:
    """Journal entries that one person made and posted."""

    entities = frozenset({"entry"})
    watches_history = True

    def changed(self, change: Change) -> None:
        """Look at an entry that somebody made; nothing is kept of those of which nothing was said."""
        content, subject, section = change.content, change.subject, change.policy.document.duties
        key = f"j:{subject.document_key}"
        row = change.view.get(key, EntryRow)
        event = change.event
        written = 0 if row is None else row.written
        if section.write_off_accounts and isinstance(event, Entry) and not change.deleted:
            written = journal.written_off(event.lines, section)
        if row is None and ((content.partner_id is not None and not written) or content.state != "posted"):
            return
        hands = journal.hands_of(change.facts)
        if row is not None:
            hands = {**row.hands, **hands}
        found = (
            ()
            if change.deleted
            else journal.by_one_hand(subject.document_key, subject.company_id, content, hands, section, written)
        )
        said = {} if row is None else row.said
        changed = settle(
            said, found, RULES, change.policy.handling, subject.source, change.policy.label, change.occurred_at
        )
        if said:
            publish(change.view, subject.source, changed)
            change.view.put(key, EntryRow(hands, said, written))


class EntryRow(Struct, array_like=True):
    """Who made and posted a journal entry of which something was said."""

    hands: dict[str, Act] = {}
    said: dict[str, Said] = {}
    written: int = 0  # what it put on write-off accounts, in millionths


class VendorFacts:
    """Sends payments and posted bills to their vendor."""

    entities = frozenset({"bill", "payment"})
    watches_history = True

    def changed(self, change: Change) -> None:
        """Tell the vendor what changed. Nothing is sent twice."""
        if change.subject.entity == "payment":
            if not change.content_changed:
                return
            told = _payment(change)
        else:
            if change.content.state == "draft" or (
                isinstance(change.event, Transition) and change.event.field == PAYMENT_STATE
            ):
                return  # that a bill is paid says nothing of who entered and approved it
            told = _billing(change)
        partner = change.content.partner_id
        key = f"{VENDOR}:{change.subject.source}:{partner}" if told is not None and partner is not None else ""
        _send(change, VENDOR, f"v:{change.subject.document_key}", key, told)


class PersonFacts:
    """Sends orders, and documents that their maker approved, to the person."""

    entities = frozenset({"purchase_order", "bill", "expense_report"})
    watches_history = True

    def changed(self, change: Change) -> None:
        """Tell the person's row what changed. Nothing is sent twice."""
        subject, content = change.subject, change.content
        if subject.entity == "purchase_order" and change.content_changed:
            person = content.created_by
            asked = person is not None and content.state in _ASKED and not change.deleted
            asked = (
                asked and content.amount is not None and people.is_part(content.amount, change.policy.document.duties)
            )
            if asked and content.created_at is not None:
                accounts = change.event.vendor_account_hashes if isinstance(change.event, PurchaseOrder) else []
                told = Told(content.created_at, person, firm=_firm(change.event), accounts=accounts)
                key = f"{PERSON}:{subject.source}:{person}"
                _send(change, PERSON, f"q:{subject.document_key}", key, told)
            else:
                _send(change, PERSON, f"q:{subject.document_key}", "", None)
        flag = change.machine.flags.get("approval_by_creator")
        row_key = f"w:{subject.document_key}"
        if flag is None and change.view.get(row_key, Sent) is None:
            return
        section = change.policy.exceptions_of(subject.entity).get("approval_by_creator")
        person = change.machine.creator
        counts = flag is not None and not flag.resolved and section is not None and person is not None
        if counts and section is not None and section.min_amount is not None and flag is not None and not flag.asked:
            counts = content.amount is not None and abs(content.amount) >= section.min_amount
        if counts and flag is not None:
            told = Told(flag.opened, person, hands={"override": flag.opened_id})
            _send(change, PERSON, row_key, f"{PERSON}:{subject.source}:{person}", told)
        else:
            _send(change, PERSON, row_key, "", None)


def _firm(event: Event | Feedback) -> str | None:
    """The vendor's tax number as an order tells it, however it is written."""
    if not isinstance(event, PurchaseOrder) or event.vendor_vat is None:
        return None
    return "".join(letter for letter in event.vendor_vat.upper() if letter.isalnum()) or None


def _payment(change: Change) -> Told | None:
    event, content = change.event, change.content
    if (
        not isinstance(event, PaymentEvent)
        or change.deleted
        or content.document_type != "outbound"
        or content.state not in _PAYING
    ):
        return None
    at = change.occurred_at if content.created_at is None else content.created_at
    return Told(at, content.created_by, _account_key(change.subject, content.account), bills=sorted(event.bill_keys))


def _billing(change: Change) -> Told | None:
    content = change.content
    if change.deleted or content.state != "posted" or content.document_type == "in_refund":
        return None
    acts = acts_of("bill", change.facts, {})
    at = change.occurred_at if content.created_at is None else content.created_at
    hands = {duty: act.person for duty, act in acts.items() if duty in ("enter_bill", "approve_bill")}
    return Told(at, account=_account_key(change.subject, content.account), hands=hands)


def _account_key(subject: Subject, account: str | None) -> str | None:
    return None if account is None else f"{subject.source}:bank_account:{account}"


def _send(change: Change, relation: str, row_key: str, key: str, told: Told | None) -> None:
    """Send a fact under ``key`` (empty: under none), and withdraw it from where it was."""
    sent = change.view.get(row_key, Sent)
    content = change.content
    if told is not None:
        told.company_amount = content.company_amount
    attributes = None if told is None or not key else _ENCODE(told)
    checksum = 0
    if attributes is not None:
        checksum = crc32(attributes, crc32(repr((content.amount, content.currency, content.partner_id)).encode()))
    if sent is None:
        if attributes is None:
            return
        sent = Sent()
    elif sent.relation_key == key and sent.checksum == checksum:
        return
    if sent.relation_key and sent.relation_key != key:
        sent.version += 1
        tell(change, relation, sent.relation_key, sent.version, "withdraw", None, document_type=row_key[0])
    if attributes is not None:
        sent.version += 1
        tell(change, relation, key, sent.version, "put", attributes.decode(), document_type=row_key[0])
    sent.relation_key, sent.checksum = key, checksum
    change.view.put(row_key, sent)


class BankRow(Struct, array_like=True):
    """One bank account, as it was seen and as the log tells of it."""

    seen: str = ""
    at: int = -1
    account_hash: str | None = None
    partner: str | None = None
    made: int = 0
    person: str | None = None
    made_id: str = ""
    changes: list[BankChange] = []
    live: bool = True
    sent: Sent = msgspec.field(default_factory=Sent)
    shown: accounts.Shown = msgspec.field(default_factory=accounts.Shown)


class BankFacts:
    """Master data: sends bank accounts, and who changed their numbers, to their vendor and to their number."""

    entities = frozenset({"bank_account"})

    def apply(self, view: View, event: Event, policy: Policy) -> bool | None:
        """Take an event of a bank account. Returns False for a repeat."""
        key = f"mb:{event.document_key}"
        row = view.get(key, BankRow)
        row = BankRow() if row is None else row
        short = event.event_id[:_ID]
        if short in row.seen:
            return False
        row.seen = row.seen[-_ID * (_IDS_KEPT - 1) :] + short
        if isinstance(event, BankAccount):
            latest = event.occurred_at >= row.at
            _see(row, event)
            if latest:
                accounts.tell(view, event, row.shown, row.made, row.person, row.made_id)
        elif isinstance(event, Transition) and event.field == "acc_number":
            row.changes = [one for one in row.changes if one.tracked or abs(one.at - event.occurred_at) > SAME_CHANGE]
            row.changes = _inserted(row.changes, BankChange(event.occurred_at, event.actor, event.event_id))
        told = Told(row.made, row.person, changes=row.changes, hands={"made": row.made_id})
        _tell_vendor(view, event, row.sent, row.partner if row.live else None, told)
        view.put(key, row)
        return None


class VendorRow(Struct, array_like=True):
    """One vendor's record, as it was seen and as the log tells of it."""

    seen: str = ""
    at: int = -1
    known: tuple[str | None, str | None] = (None, None)  # tax number, payment terms
    partner: str | None = None
    made: int = 0
    person: str | None = None
    made_id: str = ""
    changes: list[BankChange] = []
    blocks: list[Block] = []
    live: bool = True
    sent: Sent = msgspec.field(default_factory=Sent)


class VendorMaster:
    """Master data: sends vendors, who made and changed them, and when they were blocked, to their vendor's row."""

    entities = frozenset({"vendor"})

    def apply(self, view: View, event: Event, policy: Policy) -> bool | None:
        """Take an event of a partner. Returns False for a repeat."""
        key = f"mv:{event.document_key}"
        row = view.get(key, VendorRow)
        if row is None:
            if isinstance(event, VendorEvent) and _only_customer(event):
                return None
            row = VendorRow()
        short = event.event_id[:_ID]
        if short in row.seen:
            return False
        row.seen = row.seen[-_ID * (_IDS_KEPT - 1) :] + short
        if isinstance(event, VendorEvent):
            _see_vendor(row, event)
        elif isinstance(event, Transition) and event.field in _VENDOR_FIELDS:
            row.changes = [one for one in row.changes if one.tracked or abs(one.at - event.occurred_at) > SAME_CHANGE]
            row.changes = _inserted(row.changes, BankChange(event.occurred_at, event.actor, event.event_id))
        told = Told(row.made, row.person, changes=row.changes, hands={"made": row.made_id}, blocks=row.blocks)
        _tell_vendor(view, event, row.sent, row.partner if row.live else None, told)
        view.put(key, row)
        return None


def _only_customer(event: VendorEvent) -> bool:
    """A customer of whom nothing was bought, or a contact of a firm: no vendor's record."""
    contact = event.commercial_partner_id not in (None, event.record_id)
    return contact or (bool(event.customer_rank) and not event.supplier_rank)


def _see_vendor(row: VendorRow, event: VendorEvent) -> None:
    """Take in a vendor as it was seen."""
    at = event.occurred_at
    if at < row.at:
        return
    first, row.at = row.at < 0, at
    row.live = event.op != "d"
    if not row.live:
        return
    known = (event.vat, event.payment_term_id)
    if not first and known != row.known:
        told = any(one.tracked and abs(one.at - at) <= SAME_CHANGE for one in row.changes)
        if not told:
            row.changes = _inserted(row.changes, BankChange(at, event.actor, event.event_id, tracked=False))
    row.known, row.partner = known, event.record_id
    blocked = "block" in (event.purchase_warning, event.invoice_warning)
    standing = row.blocks[-1] if row.blocks and not row.blocks[-1].until else None
    if blocked and standing is None:
        row.blocks = [*row.blocks, Block(at, event.event_id)][-_CHANGES_KEPT:]
    elif not blocked and standing is not None:
        standing.until, standing.until_id = at, event.event_id
    if first or not row.made:
        row.made = at if event.created_at is None else event.created_at
        row.person, row.made_id = event.created_by, event.event_id


def _tell_vendor(view: View, event: Event, sent: Sent, partner: str | None, told: Told) -> None:
    """Send a fact of master data to its vendor, and withdraw it from where it was."""
    key = f"{VENDOR}:{event.source}:{partner}" if partner is not None else ""
    attributes = _ENCODE(told)
    checksum = crc32(attributes) if key else 0
    if sent.relation_key == key and sent.checksum == checksum:
        return
    subject = Subject(event.document_key, event.source, event.entity, event.record_id, event.company_id)
    for op, to in (("withdraw", sent.relation_key), ("put", key)):
        if not to or (op == "withdraw" and to == key):
            continue
        sent.version += 1
        given = attributes.decode() if op == "put" else None
        times = (event.timeline, event.occurred_at, event.observed_at, event.event_id)
        fact = Relation(
            VENDOR, to, sent.version, op, *subject, *times, None, partner, "m", None, None, None, None, given
        )
        view.emit(RELATION, to, fact)
    sent.relation_key, sent.checksum = key, checksum


def _see(row: BankRow, event: BankAccount) -> None:
    """Take in an account as it was seen."""
    at = event.occurred_at
    if at < row.at:
        return
    first, row.at = row.at < 0, at
    row.live = event.op != "d"
    if not row.live:
        return
    if not first and event.account_hash != row.account_hash and event.account_hash is not None:
        told = any(one.tracked and abs(one.at - at) <= SAME_CHANGE for one in row.changes)
        if not told:
            row.changes = _inserted(row.changes, BankChange(at, event.actor, event.event_id, tracked=False))
    row.account_hash, row.partner = event.account_hash, event.partner_id
    if first or not row.made:
        row.made = at if event.created_at is None else event.created_at
        row.person, row.made_id = event.created_by, event.event_id


def _inserted(changes: list[BankChange], change: BankChange) -> list[BankChange]:
    return sorted((*changes, change), key=lambda one: (one.at, one.event_id))[-_CHANGES_KEPT:]


class VendorActivity:
    """Judges a vendor's accounts and payments."""

    relation = VENDOR

    def apply(self, view: View, fact: RelationFact, policy: Policy) -> bool:
        """Take one fact, once a version; emit the findings that changed."""
        known = view.get(fact.relation_key, Vendor)
        vendor = Vendor() if known is None else known
        kept: dict[str, Account] | dict[str, Payment] | dict[str, Billing] | dict[str, Record]
        kept = (
            vendor.accounts
            if fact.entity == "bank_account"
            else vendor.payments
            if fact.entity == "payment"
            else vendor.records
            if fact.entity == "vendor"
            else vendor.bills
        )
        was = kept.get(fact.document_key)
        if was is not None and fact.version <= was.version:
            return False
        told = _told(fact)
        if told is None:
            if was is None:
                return False
            kept[fact.document_key] = structs.replace(was, version=fact.version, live=False)  # type: ignore[assignment]
        elif fact.entity == "bank_account":
            vendor.accounts[fact.document_key] = Account(
                fact.version, True, told.at, told.person, told.hands.get("made", fact.event_id), told.changes
            )
        elif fact.entity == "vendor":
            vendor.records[fact.document_key] = Record(
                fact.version,
                True,
                told.at,
                told.person,
                told.hands.get("made", fact.event_id),
                told.changes,
                told.blocks,
            )
        elif fact.entity == "payment":
            vendor.payments[fact.document_key] = Payment(
                fact.version,
                True,
                told.account,
                told.at,
                told.person,
                fact.amount,
                fact.currency,
                fact.company_id,
                told.bills,
                fact.event_id,
                told.company_amount,
            )
        else:
            vendor.bills[fact.document_key] = Billing(
                fact.version,
                True,
                told.account,
                told.at,
                told.hands,
                fact.amount,
                fact.currency,
                fact.company_id,
                fact.event_id if was is None else was.event_id,
                told.company_amount,
            )
        section = policy.document.duties
        if told is not None and fact.entity in ("bill", "payment"):
            vendor.newest = max(vendor.newest, told.at)
        vendors.forget(vendor)
        # Only what this fact can change is judged again: a vendor may have thousands of payments.
        touched = vendors.touched(vendor, fact.entity, fact.document_key, was)
        found = [one for one in vendors.judge(vendor, section, touched) if _there(vendor, one.documents)]
        if found or vendor.said:
            changed = settle(
                vendor.said,
                found,
                RULES,
                policy.handling,
                fact.source,
                policy.label,
                fact.occurred_at,
                touched,
                within=fact.relation_key,
                forgotten=vendor.forgotten,
            )
            publish(view, fact.source, changed, policy)
        view.put(fact.relation_key, vendor)
        return True

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """Its counts are kept in the tally, which the stage publishes."""
        return []


def _there(vendor: Vendor, documents: list[str]) -> bool:
    """False for what is about an account that is gone; its payments are told all the same."""
    account = vendor.accounts.get(documents[0])
    return account is None or account.live


class PersonActivity:
    """Judges a person's documents."""

    relation = PERSON

    def apply(self, view: View, fact: RelationFact, policy: Policy) -> bool:
        """Take one fact, once a version; emit the findings that changed."""
        known = view.get(fact.relation_key, Person)
        person = Person() if known is None else known
        kept: dict[str, Request] | dict[str, Override]
        kept = person.requests if fact.document_type == "q" else person.overrides
        was = kept.get(fact.document_key)
        if was is not None and fact.version <= was.version:
            return False
        told = _told(fact)
        if told is None:
            if was is None:
                return False
            kept[fact.document_key] = structs.replace(was, version=fact.version, live=False)  # type: ignore[assignment]
        elif fact.document_type == "q":
            event_id = fact.event_id if was is None else was.event_id
            person.requests[fact.document_key] = Request(
                fact.version,
                True,
                told.at,
                fact.amount,
                fact.currency,
                fact.partner_id,
                fact.company_id,
                event_id,
                told.company_amount,
                told.firm,
                told.accounts,
            )
        else:
            person.overrides[fact.document_key] = Override(
                fact.version,
                True,
                told.at,
                fact.amount,
                fact.currency,
                fact.company_id,
                told.hands.get("override", fact.event_id),
                told.company_amount,
            )
        section = policy.document.duties
        people.forget(person, section)
        found = people.judge(fact.relation_key, person, section)
        changed = settle(
            person.said,
            found,
            RULES,
            policy.handling,
            fact.source,
            policy.label,
            fact.occurred_at,
            forgotten=person.forgotten,
        )
        publish(view, fact.source, changed)
        view.put(fact.relation_key, person)
        return True

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """Its counts are kept in the tally, which the stage publishes."""
        return []


def _told(fact: RelationFact) -> Told | None:
    """The further facts; None for a withdrawal. Raises InvalidEvent."""
    if fact.op != "put":
        return None
    try:
        return _DECODER.decode(fact.attributes or "")
    except msgspec.DecodeError:
        raise InvalidEvent("invalid_event", "its attributes are no facts of a vendor or a person") from None
