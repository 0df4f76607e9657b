"""What only shows when one person's documents are put side by side: splitting under a limit, repeated overrides."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

from finwatch.domain.calendar import DAY
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Said, Verdict, forget_said

_NAMED = 20
"""A finding names so many documents at most: the latest."""


class Request(Struct, array_like=True):
    """An order that a person made, below the limit and not far from it. ``amount``: gross, in its own currency."""

    version: int
    live: bool
    at: int
    amount: Decimal | None
    currency: str | None
    vendor: str | None
    company_id: str | None
    event_id: str
    company_amount: Decimal | None = None
    firm: str | None = None  # the vendor's tax number: several records may be one firm's
    accounts: list[str] = []  # keyed hashes of the numbers it is paid to


class Override(Struct, array_like=True):
    """A document whose approval its own maker gave."""

    version: int
    live: bool
    at: int
    amount: Decimal | None
    currency: str | None
    company_id: str | None
    event_id: str
    company_amount: Decimal | None = None


class Person(Struct, array_like=True):
    """What is known of one person, and what was said."""

    requests: dict[str, Request] = {}
    overrides: dict[str, Override] = {}
    said: dict[str, Said] = {}
    forgotten: dict[str, Said] = {}  # of documents that are too old to be kept: see forget_said


def forget(person: Person, settings: DutiesSection) -> None:
    """Drop what is too old to matter, so that a row stays flat; what was said of it stands."""
    requests = max((one.at for one in person.requests.values()), default=0)
    overrides = max((one.at for one in person.overrides.values()), default=0)
    newest = max(requests, overrides)
    oldest = newest - (settings.baseline_days + settings.split_days) * DAY
    old = {key for key, one in person.requests.items() if one.at < oldest}
    for key in old:
        del person.requests[key]
    oldest = newest - 2 * settings.override_days * DAY
    older = {key for key, one in person.overrides.items() if one.at < oldest}
    for key in older:
        del person.overrides[key]
    forget_said(person.said, person.forgotten, old | older)


def is_part(amount: Decimal, settings: DutiesSection) -> bool:
    """Whether an order of this amount may be a part of a split one: below the limit, and not far from it."""
    limit = settings.split_limit
    return limit is not None and limit * settings.split_part_percent / 100 <= amount < limit


def judge(name: str, person: Person, settings: DutiesSection) -> Iterator[Verdict]:
    """Everything that is said of a person's documents. ``name``: the person's key."""
    if settings.split_limit is not None:
        yield from _split(name, person, settings, settings.split_limit)
    yield from _overrides(name, person, settings)


def _split(name: str, person: Person, settings: DutiesSection, limit: Decimal) -> Iterator[Verdict]:
    live = sorted((one.at, key, one) for key, one in person.requests.items() if one.live and one.amount is not None)
    parts = [(key, one) for _, key, one in live if one.amount is not None and is_part(one.amount, settings)]
    window = settings.split_days * DAY
    for group in _by_payee(parts, settings):
        start = 0
        while start < len(group):
            first = group[start][1]
            together = [one for one in group[start:] if one[1].at <= first.at + window]
            start += max(1, len(together))
            total = sum((one.amount or Decimal(0) for _, one in together), start=Decimal(0))
            if len(together) < 2 or total < limit:
                continue
            # Such orders may be what this person always makes: then two of them together say nothing.
            others = len(live) - len(together)
            if Decimal(others * settings.split_days) / settings.baseline_days >= settings.split_usual:
                continue
            share = f"{total * 100 / limit:.0f} %"
            last = together[-1][1]
            records = {one.vendor for _, one in together}
            firms = {one.firm or one.vendor for _, one in together}
            yield Verdict(
                "split_orders",
                (name, together[0][0]),
                [key for key, _ in reversed(together)][:_NAMED],
                "purchase_order",
                last.company_id,
                last.at,
                last.at,
                [
                    f"{len(together)} orders to one vendor within {settings.split_days} days come to {share} of the "
                    "limit, each is below it.",
                    *(["The vendors are paid to one account."] if len(firms) > 1 else []),
                    *(
                        ["The vendor has several records with one tax number."]
                        if len(records) > 1 and len(firms) == 1
                        else []
                    ),
                ],
                [one.event_id for _, one in together],
                total,
                last.currency,
                company_amount=_sum([one.company_amount for _, one in together]),
            )


def _by_payee(parts: list[tuple[str, Request]], settings: DutiesSection) -> list[list[tuple[str, Request]]]:
    """Orders by who is paid and in what currency, each group in order of time.

    One payee are the records of one tax number and those that are paid to one account. Vendors that the policy names as
    sisters may share an account and stay apart.
    """
    groups: list[list[tuple[str, Request]]] = []
    names: list[set[tuple[str, str | None, str | None]]] = []
    for key, one in parts:
        called = {("vendor", one.firm or one.vendor, one.currency)}
        if not any(one.vendor in sisters or one.firm in sisters for sisters in settings.sister_vendors):
            called |= {("account", account, one.currency) for account in one.accounts}
        met = [n for n, known in enumerate(names) if not called.isdisjoint(known)]
        together = [(key, one)]
        for n in reversed(met):  # several that looked apart are one
            together = [*groups.pop(n), *together]
            called |= names.pop(n)
        groups.append(sorted(together, key=lambda part: (part[1].at, part[0])) if len(met) > 1 else together)
        names.append(called)
    return groups


def _overrides(name: str, person: Person, settings: DutiesSection) -> Iterator[Verdict]:
    live = sorted((one.at, key) for key, one in person.overrides.items() if one.live)
    if not live:
        return
    # The last window counts; an earlier one was told while it was the last, and grew into this one or ended.
    since = live[-1][0] - settings.override_days * DAY
    window = [key for at, key in live if at >= since]
    if len(window) < settings.overrides:
        return
    last = person.overrides[window[-1]]
    currencies = {person.overrides[key].currency for key in window}
    amounts = [person.overrides[key].amount for key in window]
    total = _sum(amounts) if len(currencies) == 1 else None
    yield Verdict(
        "repeated_overrides",
        (name, window[0]),
        window[::-1][:_NAMED],
        window[-1].split(":")[1],
        last.company_id,
        person.overrides[window[settings.overrides - 1]].at,
        last.at,
        [f"{len(window)} times within {settings.override_days} days the person approved what was their own."],
        [person.overrides[key].event_id for key in window[-_NAMED:]],
        total,
        None if total is None else last.currency,
        company_amount=_sum([person.overrides[key].company_amount for key in window])
        if len({person.overrides[key].company_id for key in window}) == 1
        else None,  # companies may have different currencies
    )


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    """Their sum; None when one is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, start=Decimal(0)) if len(known) == len(amounts) else None
