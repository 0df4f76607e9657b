"""Billed <= received <= ordered, line by line, over all receipts and bills."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from finwatch.domain.matching.chain import Bill, BillLine, Order, OrderLine, Receipt
from finwatch.domain.matching.compare import Compared, billed, name_of, received
from finwatch.domain.matching.units import in_company
from finwatch.domain.policy.matching import MatchingSection
from finwatch.domain.verdicts import Verdict, money, percent

_MILLION = 1_000_000
Excess = tuple[OrderLine, int, Compared]
Moved = tuple[int, str, int, bool]
"""When, by which event, how much, and whether it was credited (else: it came)."""


def over_billed(order: Order, bills: list[Bill], settings: MatchingSection) -> Iterator[Verdict]:
    """The bills with which an order line's bills come to more than was ordered; a credit note resolves it."""
    excess: dict[str, list[Excess]] = {}
    ends: dict[str, list[Bill | None]] = {}
    of_line: dict[str, list[tuple[Bill, BillLine]]] = {}
    for bill in bills:
        for one in bill.lines:
            of_line.setdefault(one.order_line, []).append((bill, one))
    for line in order.lines:
        # 1. What each bill adds to the line, in the order in which they began to bill.
        brought = of_line.get(line.line_id)
        if brought is None:
            continue
        parts = [(bill, billed(order, line, bill, one, settings.units)) for bill, one in brought]
        if any(compared.unknown == "unit" for _, compared in parts):
            continue  # said as not comparable, and never guessed
        # 2. When the bills came to too much, and the credit note that ended it (None: nothing has).
        allowed = _allowed(order, line, settings)
        upto, ended = _beyond(parts, allowed)
        if not upto:
            continue
        # 3. What is too much is put to the last bills that brought it.
        too_much = sum(-c.quantity if bill.refund else c.quantity for bill, c in parts[:upto]) - line.quantity
        for bill, compared in reversed(parts[:upto]):
            if bill.refund or too_much <= 0:
                continue
            share = min(compared.quantity, too_much)
            too_much -= share
            if share > 0:
                excess.setdefault(bill.key, []).append((line, share, compared))
                ends.setdefault(bill.key, []).append(ended)
    for bill in bills if excess else ():
        found = excess.get(bill.key)
        if found:
            yield _over_billed(order, bill, found, ends[bill.key])


def _beyond(parts: list[tuple[Bill, Compared]], allowed: int) -> tuple[int, Bill | None]:
    """How many parts make too much (0: none do), and the credit note after which it is too much no longer."""
    total = upto = most = 0
    ended: Bill | None = None
    for number, (bill, compared) in enumerate(parts, start=1):
        total += -compared.quantity if bill.refund else compared.quantity
        if total > allowed and (total >= most or ended is not None):
            upto, most, ended = number, total, None
        elif total <= allowed and upto and ended is None:
            ended = bill
    return upto if ended is not None or total <= allowed else len(parts), ended


def _over_billed(order: Order, bill: Bill, found: list[Excess], ends: list[Bill | None]) -> Verdict:
    amount = sum(
        (Decimal(share) * c.price / _MILLION * c.to_bill for _, share, c in found if not c.unknown), start=Decimal(0)
    )
    at_risk = None if any(c.unknown for _, _, c in found) else money(round(amount))
    credits = sorted({(end.at, end.event_id) for end in ends if end is not None})
    resolved = bool(credits) and None not in ends
    evidence = [order.event_id, bill.event_id]
    return Verdict(
        "over_billed",
        (bill.key, order.key),
        [bill.key, order.key],
        "bill",
        order.company_id,
        bill.at,
        credits[-1][0] if resolved else bill.at,
        [
            f"{name_of(order, line)}: {percent(share, line.quantity)} more than was ordered is billed."
            if line.quantity
            else f"{name_of(order, line)}: it is billed and nothing of it was ordered."
            for line, share, _ in found
        ],
        [*evidence, credits[-1][1]] if resolved else evidence,
        at_risk,
        None if at_risk is None else bill.currency,
        resolved,
        company_amount=in_company(at_risk, bill.rate),
        entered=bill.at,
    )


def over_received(order: Order, receipts: list[Receipt], settings: MatchingSection) -> Iterator[Verdict]:
    """The receipts with which more of an order line has come in than was ordered."""
    found: dict[str, list[tuple[OrderLine, int]]] = {}
    ends: dict[str, list[Receipt | None]] = {}
    for line in order.lines:
        allowed = _allowed(order, line, settings)
        total = 0
        waiting: dict[str, int] = {}  # receipts of too much, and where their end stands
        for receipt, quantity in _received_of(receipts, line, settings):
            before, total = total, total + quantity
            if total > allowed and quantity > 0:
                found.setdefault(receipt.key, []).append((line, total - max(before, line.quantity)))
                waiting[receipt.key] = len(ends.setdefault(receipt.key, []))
                ends[receipt.key].append(None)
            elif total <= allowed and waiting:  # the surplus went back
                for key, place in waiting.items():
                    ends[key][place] = receipt
                waiting.clear()
    for receipt in receipts if found else ():
        lines = found.get(receipt.key)
        if not lines:
            continue
        amount = sum((Decimal(share) * line.price / _MILLION for line, share in lines), start=Decimal(0))
        over = sorted((end.at, end.event_id) for end in ends[receipt.key] if end is not None)
        resolved = len(over) == len(lines)
        yield Verdict(
            "over_received",
            (receipt.key, order.key),
            [receipt.key, order.key],
            "receipt",
            order.company_id,
            receipt.at,
            over[-1][0] if resolved else receipt.at,
            [
                f"{name_of(order, line)}: {percent(share, line.quantity)} more than was ordered came in."
                if line.quantity
                else f"{name_of(order, line)}: it came in and nothing of it was ordered."
                for line, share in lines
            ],
            [order.event_id, receipt.event_id, *([over[-1][1]] if resolved else [])],
            money(round(amount)),
            order.currency,
            resolved,
            company_amount=in_company(money(round(amount)), order.rate),
            entered=receipt.entered or receipt.at,
        )


def billed_before_receipt(
    order: Order, bills: list[Bill], receipts: list[Receipt], settings: MatchingSection
) -> Iterator[Verdict]:
    """Bills whose grace ended while the goods had not come; resolved when they come, or are credited."""
    for bill in bills:
        if not bill.waited or bill.refund:
            continue
        missing, ended = _missing(order, bills, bill, receipts, settings, bill.waited)
        if missing:
            yield _before_receipt(
                "billed_before_receipt",
                order,
                bill,
                missing,
                (bill.waited, None),
                ended,
                "{line}: {percent} of what is billed had not come in when its grace ended.",
            )


def paid_before_receipt(
    order: Order, bills: list[Bill], receipts: list[Receipt], settings: MatchingSection
) -> Iterator[Verdict]:
    """Bills that were paid while the goods had not come; resolved when they come, or are credited."""
    for bill in bills:
        paid = bill.acts.get("release_payment")
        if paid is None or bill.refund:
            continue
        missing, ended = _missing(order, bills, bill, receipts, settings, paid.at)
        if missing:
            yield _before_receipt(
                "paid_before_receipt",
                order,
                bill,
                missing,
                (paid.at, paid.event_id),
                ended,
                "{line}: it was paid while {percent} of what is billed had not come in.",
            )


def _before_receipt(
    rule: str,
    order: Order,
    bill: Bill,
    missing: list[Excess],
    since: tuple[int, str | None],
    ended: tuple[int, str] | None,
    words: str,
) -> Verdict:
    amount = sum(
        (Decimal(share) * c.price / _MILLION * c.to_bill for _, share, c in missing if not c.unknown), start=Decimal(0)
    )
    at_risk = None if any(c.unknown for _, _, c in missing) else money(round(amount))
    opened, event = since
    evidence = [order.event_id, bill.event_id] if event is None else [order.event_id, bill.event_id, event]
    return Verdict(
        rule,
        (bill.key, order.key),
        [bill.key, order.key],
        "bill",
        order.company_id,
        opened,
        opened if ended is None else ended[0],
        [words.format(line=name_of(order, line), percent=percent(share, c.quantity)) for line, share, c in missing],
        evidence if ended is None else [*evidence, ended[1]],
        at_risk,
        None if at_risk is None else bill.currency,
        resolved=ended is not None,
        company_amount=in_company(at_risk, bill.rate),
        entered=bill.at,
    )


def _missing(
    order: Order, bills: list[Bill], bill: Bill, receipts: list[Receipt], settings: MatchingSection, until: int
) -> tuple[list[Excess], tuple[int, str] | None]:
    """What of a bill's lines had not come by an instant, and when and by which event nothing was missing any more.

    Beyond what was ordered nothing will come, so nothing of that is missing. What cannot be converted is left out.
    """
    lines = {line.line_id: line for line in order.lines}
    missing: list[Excess] = []
    ended: tuple[int, str] | None = (0, "")
    for one in bill.lines:
        line = lines.get(one.order_line)
        if line is None or not line.received:
            continue
        compared = billed(order, line, bill, one, settings.units)
        if compared.unknown == "unit" or compared.quantity <= 0:
            continue
        come = _came(receipts, line, settings)
        if come is None or sum([quantity for at, _, quantity, _ in come if at <= until]) >= line.quantity:
            continue  # it cannot be told, or all that was ordered had come
        upto, credited = _billed_until(order, bills, bill, line, settings)
        short, end = _short(line, upto, come, credited, until)
        if short <= 0:
            continue
        missing.append((line, min(short, compared.quantity), compared))
        if end is None:
            ended = None
        elif ended is not None:
            ended = max(ended, end)
    return missing, ended


def _short(
    line: OrderLine, upto: int, come: list[Moved], credited: list[Moved], until: int
) -> tuple[int, tuple[int, str] | None]:
    """How much was missing at an instant, and when nothing was any more (None: some still is)."""
    received, billed_still = 0, upto
    short = min(line.quantity, upto)
    ended: tuple[int, str] | None = None
    for at, event, quantity, credit in sorted((*come, *credited)) if credited else come:
        if credit:
            billed_still -= quantity
        else:
            received += quantity
        still = min(line.quantity, billed_still) - received
        if at <= until:
            short = still
        elif still > 0:
            ended = None
        elif ended is None:
            ended = (at, event)
    return short, ended


def _billed_until(
    order: Order, bills: list[Bill], last: Bill, line: OrderLine, settings: MatchingSection
) -> tuple[int, list[Moved]]:
    """What is billed of a line up to a bill, and what is credited after it."""
    total = 0
    credited: list[Moved] = []
    met = False
    for bill in bills:
        for one in bill.lines:
            if one.order_line != line.line_id:
                continue
            compared = billed(order, line, bill, one, settings.units)
            if compared.unknown == "unit":
                continue
            if not met:
                total += -compared.quantity if bill.refund else compared.quantity
            elif bill.refund:
                credited.append((bill.at, bill.event_id, compared.quantity, True))
        met = met or bill is last
    return max(0, total), credited


def _came(receipts: list[Receipt], line: OrderLine, settings: MatchingSection) -> list[Moved] | None:
    """What came of a line, and when; None when that cannot be told in the line's unit.

    What went back had come. What comes after that comes anew only as far as more lies here than ever did.
    """
    found: list[Moved] = []
    back = False
    for receipt in receipts:
        for one in receipt.lines:
            if one.order_line == line.line_id:
                quantity = received(line, one, settings.units)
                if quantity is None:
                    return None
                back = back or quantity < 0
                found.append((receipt.at, receipt.event_id, quantity, False))
    return _anew(found) if back else found


def _anew(moves: list[Moved]) -> list[Moved]:
    """What came for the first time, of all that came and went."""
    here = most = 0
    found: list[Moved] = []
    for at, event, quantity, credit in moves:
        here += quantity
        if here > most:
            found.append((at, event, here - most, credit))
            most = here
    return found


def _received_of(receipts: list[Receipt], line: OrderLine, settings: MatchingSection) -> Iterator[tuple[Receipt, int]]:
    for receipt in receipts:
        for one in receipt.lines:
            if one.order_line == line.line_id:
                quantity = received(line, one, settings.units)
                if quantity is not None:
                    yield receipt, quantity


def _allowed(order: Order, line: OrderLine, settings: MatchingSection) -> int:
    beyond = settings.tolerance(order.vendor, line.product, line.category, line.category_name).quantity_percent
    return line.quantity + int(line.quantity * beyond / 100) if beyond else line.quantity
