"""Facts for the relations stage, as the documents stage tells them: orders, receipts, bills, payments, accounts.

Each order is played through the documents stage in memory; orders are told interleaved, with a deviation on some of
them. Endless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from finwatch.domain.events import (
    BankAccount,
    Bill,
    BillLine,
    Event,
    OrderLine,
    Payment,
    PurchaseOrder,
    Receipt,
    ReceiptLine,
    Transition,
)
from finwatch.domain.identity import deterministic_id
from finwatch.domain.records import Relation
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import RELATION
from streams.agents.registry import documents_stage
from streams.agents.replay import Replay

START = 1_772_500_000_000_000
STEP = 3_000_000
HOUR = 3_600_000_000
MILLION = 1_000_000
TOGETHER = 40
"""So many orders are told at once."""
VENDORS = 60
"""All that happens falls on them: nearly every payment is soon after some change of an account, and one row grows."""


class Pace(NamedTuple):
    """How much a company does: orders come ``step`` microseconds apart from ``vendors`` vendors and some people."""

    step: int = STEP
    vendors: int = VENDORS
    people: int = 1
    """Times as many in each role."""
    changes: int = 19
    """Every how many orders a vendor's account is changed."""


STORM = Pace()
YEAR = Pace(step=10 * 60_000_000, vendors=2_000, people=8, changes=97)
"""52,000 orders a year from two thousand vendors, five accounts changed in a hundred orders of each."""


def _event(kind: type[Event], entity: str, record: int, at: int, **body: Any) -> Any:
    return kind(
        event_id=deterministic_id(entity, record, at, kind.__name__, body.get("field"), body.get("state")),
        document_key=f"odoo:{entity}:{record}",
        source="odoo",
        entity=entity,
        record_id=str(record),
        op="u",
        timeline="log",
        occurred_at=at,
        observed_at=at,
        company_id="1",
        **body,
    )


def _moved(entity: str, record: int, at: int, actor: int, field: str, before: str, after: str) -> Event:
    activity = {"purchase": "approved", "posted": "posted", "paid": "paid", "done": "received"}.get(after, "changed")
    change = {"field": field, "old_value": before, "new_value": after, "actor": str(actor)}
    moved: Event = _event(Transition, entity, record, at, activity=activity, label=after, **change)
    return moved


def order_events(number: int, pace: Pace = STORM) -> list[Event]:
    """One order's documents, in order of time."""
    at, n, vendor = START + number * pace.step, number + 1, str(number % pace.vendors)
    key, quantity = f"odoo:purchase_order:{n}", 4 + number % 9
    other = n // 12 % pace.people * 20
    buyer, approver, clerk, poster, payer = (
        other + role for role in (3 + n % 4, 8 + n % 2, 10 + n % 3, 13 + n % 2, 15 + n % 2)
    )
    price = 90 + number % 70
    billed_price = price + (price // 8 if number % 11 == 0 else 0)
    billed = quantity + (3 if number % 13 == 0 else 0)
    if number % 17 == 0:
        payer = poster
    line = OrderLine(quantity * MILLION, 0, 0, f"{n}", "7", "Units", price * MILLION, quantity * price * MILLION)
    common = {"state": "purchase", "partner_id": vendor, "currency": "EUR", "receipt_status": "pending"}
    total = Decimal(quantity * price)
    made: list[Event] = [
        _event(
            PurchaseOrder,
            "purchase_order",
            n,
            at,
            amount_total=total,
            created_by=str(buyer),
            created_at=at,
            lines=[line],
            **common,
        ),
        _moved("purchase_order", n, at + HOUR, approver, "state", "to approve", "purchase"),
    ]
    came = _event(
        Receipt,
        "receipt",
        n,
        at + 20 * HOUR,
        state="done",
        done_at=at + 20 * HOUR,
        purchase_order_key=key,
        lines=[ReceiptLine(f"{n}", "Units", quantity * MILLION)],
    )
    bill = {
        "move_type": "in_invoice",
        "reference": f"INV-{n}",
        "partner_id": vendor,
        "commercial_partner_id": vendor,
        "invoice_date": (at + 25 * HOUR) // (24 * HOUR),
        "currency": "EUR",
        "amount_total": Decimal(billed * billed_price),
        "created_by": str(clerk),
        "created_at": at + 24 * HOUR,
        "bank_account_id": vendor,
        "lines": [
            BillLine(
                f"{n}",
                key,
                "7",
                "600",
                "Units",
                billed * MILLION,
                billed_price * MILLION,
                billed * billed_price * MILLION,
            )
        ],
    }
    tail: list[Event] = [
        _event(Bill, "bill", n, at + 24 * HOUR, state="draft", payment_state="not_paid", **bill),
        _moved("bill", n, at + 26 * HOUR, poster, "state", "draft", "posted"),
        _event(Bill, "bill", n, at + 26 * HOUR, state="posted", payment_state="not_paid", **bill),
    ]
    if number % pace.changes == 0:
        change = {"field": "acc_number", "old_value": "***1", "new_value": "***2", "actor": str(payer)}
        tail.append(
            _event(
                Transition,
                "bank_account",
                number % pace.vendors,
                at + 30 * HOUR,
                activity="changed",
                label="n",
                **change,
            )
        )
    tail += [
        _event(
            Payment,
            "payment",
            n,
            at + 50 * HOUR,
            state="paid",
            payment_type="outbound",
            partner_id=vendor,
            currency="EUR",
            amount=Decimal(billed * billed_price),
            created_by=str(payer),
            created_at=at + 50 * HOUR,
            bank_account_id=vendor,
            bill_keys=[f"odoo:bill:{n}"],
        ),
        _moved("bill", n, at + 50 * HOUR, payer, "payment_state", "not_paid", "paid"),
    ]
    return [*made, *([] if number % 7 == 0 else [came]), *tail, *([came] if number % 14 == 0 else [])]


def facts(pace: Pace = STORM) -> Iterator[Relation]:
    """What the documents stage tells of order after order, several at once."""
    stage = documents_stage(load_policies())
    replays: dict[str, Replay] = {}
    waiting: deque[deque[Event]] = deque(
        [
            deque(
                [
                    _event(
                        BankAccount,
                        "bank_account",
                        vendor,
                        START,
                        partner_id=str(vendor),
                        account_hash=f"h{vendor}",
                        created_by="2",
                        created_at=START,
                    )
                ]
            )
            for vendor in range(pace.vendors)
        ]
    )
    number = 0
    while True:
        while len(waiting) < TOGETHER:
            waiting.append(deque(order_events(number, pace)))
            number += 1
        events = waiting.popleft()
        event = events.popleft()
        if events:
            waiting.append(events)
        replay = replays.setdefault(event.entity, Replay(stage, f"finance.{event.entity}.v1"))
        replay.feed([event])
        for output in replay.view.outputs:
            if output.topic == RELATION and isinstance(output.record, Relation):
                yield output.record
        replay.view.outputs.clear()
        if event.entity != "bank_account" and not events:
            for entity in ("purchase_order", "receipt", "bill", "payment"):
                other = replays.get(entity)
                if other is not None:  # an order that is told to its end comes never again
                    for kind in "d:", "o:", "v:", "q:", "r:", "w:", "y:":
                        other.view.delete(f"{kind}odoo:{entity}:{event.record_id}")
