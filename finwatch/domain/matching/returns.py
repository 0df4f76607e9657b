"""Goods that went back to the vendor: what is billed against what was kept.

What an order line has at an instant: ``came``, the most of it that ever lay here; ``kept``, what the source counts as
received, returns taken off (Odoo's rule: a return counts unless its goods are exchanged). Owed back is what is billed,
credit notes taken off, beyond what was kept; what is billed and never came is not owed back, it is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from finwatch.domain.matching.chain import Bill, Order, OrderLine, Receipt
from finwatch.domain.matching.compare import billed, name_of, received
from finwatch.domain.matching.units import in_company
from finwatch.domain.policy.matching import MatchingSection
from finwatch.domain.verdicts import Verdict, money, percent

_MILLION = 1_000_000


class Step(NamedTuple):
    """A document's part in what became of an order line; quantities in millionths of the line's unit, signed."""

    at: int
    key: str
    event_id: str
    moved: int = 0  # came in, or went back
    kept: int = 0  # the same as the source counts it
    billed: int = 0
    credited: int = 0
    price: Decimal = Decimal(0)  # a unit, in the bill's currency


class Owed(NamedTuple):
    """Of a line: how much is owed back, of how much, worth how much; when and by which event it ended (None: it has
    not).
    """

    line: OrderLine
    quantity: int
    of: int
    amount: Decimal | None
    ended: tuple[int, str] | None


def went_back(receipts: list[Receipt]) -> bool:
    """Whether anything did, as the source counts it."""
    return any(one.quantity < 0 and not one.exchanged for receipt in receipts for one in receipt.lines)


def returns(order: Order, bills: list[Bill], receipts: list[Receipt], settings: MatchingSection) -> Iterator[Verdict]:
    """Bills for what had gone back, and returns whose grace ended without a credit note."""
    after: dict[str, list[Owed]] = {}
    open_returns: dict[str, list[Owed]] = {}
    for line in order.lines:
        steps = _steps(order, line, bills, receipts, settings) if line.received else None
        if steps is None:
            continue
        for bill in bills:
            owed = None if bill.refund else _by_bill(line, steps, bill)
            if owed is not None:
                after.setdefault(bill.key, []).append(owed)
        for receipt in receipts:
            owed = _by_return(line, steps, receipt) if receipt.waited else None
            if owed is not None:
                open_returns.setdefault(receipt.key, []).append(owed)
    for bill in bills if after else ():
        if bill.key in after:
            yield _billed_after(order, bill, after[bill.key])
    for receipt in receipts if open_returns else ():
        if receipt.key in open_returns:
            yield _not_credited(order, receipt, open_returns[receipt.key])


def _steps(
    order: Order, line: OrderLine, bills: list[Bill], receipts: list[Receipt], settings: MatchingSection
) -> list[Step] | None:
    """What became of a line, in order of time; None when nothing of it went back, or a unit does not convert."""
    steps: list[Step] = []
    back = False
    for receipt in receipts:
        for come in receipt.lines:
            if come.order_line != line.line_id:
                continue
            quantity = received(line, come, settings.units)
            if quantity is None:
                return None
            kept = 0 if come.exchanged else quantity
            back = back or kept < 0
            steps.append(Step(receipt.at, receipt.key, receipt.event_id, quantity, kept))
    if not back:
        return None
    for bill in bills:
        for one in bill.lines:
            if one.order_line != line.line_id:
                continue
            compared = billed(order, line, bill, one, settings.units)
            if compared.unknown == "unit":
                return None
            price = Decimal(0) if compared.unknown else Decimal(compared.price) / _MILLION * compared.to_bill
            if bill.refund:
                steps.append(Step(bill.at, bill.key, bill.event_id, credited=compared.quantity))
            else:
                steps.append(Step(bill.at, bill.key, bill.event_id, billed=compared.quantity, price=price))
    steps.sort()
    return steps


def _owed(steps: list[Step], last: Step) -> Iterator[tuple[Step, int]]:
    """How much is owed back after each step, as far as one of them brought it about.

    Bills and returns that come after that one are left out: they are told by themselves. Credit notes and goods count
    whenever they come, for what is oldest.
    """
    here = came = kept = charged = credited = 0
    for step in steps:
        later = (step.at, step.key) > (last.at, last.key)
        if later and (step.billed or step.kept < 0):
            continue
        here += step.moved
        came = max(came, here)
        kept += step.kept
        charged += step.billed
        credited += step.credited
        yield step, max(0, charged - credited - kept - max(0, charged - came))


def _by_bill(line: OrderLine, steps: list[Step], bill: Bill) -> Owed | None:
    """What a bill asks for that had gone back before."""
    mine = [step for step in steps if step.key == bill.key and step.billed > 0]
    if not mine:
        return None
    before = share = 0
    ended: tuple[int, str] | None = None
    for step, owed in _owed(steps, mine[-1]):
        if (step.at, step.key) < (bill.at, bill.key):
            before = owed
        elif step.key == bill.key:
            share = min(sum(one.billed for one in mine), owed - before)
        elif min(share, owed) > 0:
            ended = None
        elif ended is None:
            ended = (step.at, step.event_id)
    if share <= 0:
        return None
    amount = None if not mine[-1].price else share * mine[-1].price
    return Owed(line, share, sum(one.billed for one in mine), amount, ended)


def _by_return(line: OrderLine, steps: list[Step], receipt: Receipt) -> Owed | None:
    """What of a return was not credited when its grace ended."""
    mine = [step for step in steps if step.key == receipt.key and step.kept < 0]
    if not mine:
        return None
    most = -sum(step.kept for step in mine)
    short = 0
    ended: tuple[int, str] | None = None
    for step, owed in _owed(steps, mine[-1]):
        if (step.at, step.key) < (receipt.at, receipt.key):
            continue
        still = min(most, owed)
        if step.at <= receipt.waited:
            short = still
        elif still > 0:
            ended = None
        elif ended is None:
            ended = (step.at, step.event_id)
    return Owed(line, short, most, Decimal(short) * line.price / _MILLION, ended) if short > 0 else None


def _billed_after(order: Order, bill: Bill, found: list[Owed]) -> Verdict:
    words = "{line}: {percent} of what is billed had gone back before."
    return _verdict(
        "billed_after_return", order, bill, "bill", (bill.at, bill.at), found, words, bill.currency, bill.rate
    )


def _not_credited(order: Order, receipt: Receipt, found: list[Owed]) -> Verdict:
    words = "{line}: {percent} of what went back was not credited when the grace ended."
    times = (receipt.waited, receipt.entered or receipt.at)
    return _verdict("return_not_credited", order, receipt, "receipt", times, found, words, order.currency, order.rate)


def _verdict(
    rule: str,
    order: Order,
    of: Bill | Receipt,
    entity: str,
    times: tuple[int, int],
    found: list[Owed],
    words: str,
    currency: str | None,
    rate: str | None,
) -> Verdict:
    opened, entered = times
    amounts = [one.amount for one in found if one.amount is not None]
    at_risk = money(round(sum(amounts, start=Decimal(0)))) if len(amounts) == len(found) else None
    ends = [one.ended for one in found if one.ended is not None]
    ended = max(ends) if len(ends) == len(found) else None
    evidence = [order.event_id, of.event_id]
    return Verdict(
        rule,
        (of.key, order.key),
        [of.key, order.key],
        entity,
        order.company_id,
        opened,
        opened if ended is None else ended[0],
        [words.format(line=name_of(order, one.line), percent=percent(one.quantity, one.of)) for one in found],
        evidence if ended is None else [*evidence, ended[1]],
        at_risk,
        None if at_risk is None else currency,
        resolved=ended is not None,
        company_amount=in_company(at_risk, rate),
        entered=entered,
    )
