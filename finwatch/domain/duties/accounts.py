"""One bank account number: whose accounts have it, and whether those are different vendors.

Instants in epoch microseconds UTC. The number is not known here, only that it is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Said, Verdict

_NAMED = 20
"""A finding names so many accounts at most: the latest. A number may be that of a collecting bank, with thousands."""


class Held(Struct, array_like=True, gc=False):
    """An account record. ``since``: when it got this number; ``firm``: whose it is, ``vat`` with that firm's tax number
    in letters and digits.
    """

    version: int
    live: bool
    since: int
    firm: str
    vat: str | None
    only_customer: bool
    person: str | None
    company_id: str | None
    event_id: str


class Number(Struct, array_like=True):
    """The accounts that have one number, by document key, and what was said of them."""

    held: dict[str, Held] = {}
    said: dict[str, Said] = {}


def judge(number: Number, about: str, section: DutiesSection) -> Iterator[Verdict]:
    """One verdict when the accounts are of different vendors. ``about``: what names the number."""
    held = sorted(((one.since, key, one) for key, one in number.held.items() if one.live), reverse=True)
    if len(held) < 2 or all(one.only_customer for _, _, one in held):
        return
    vendors = _vendors([one for _, _, one in reversed(held)], section)
    if len(vendors) < 2:
        return
    _, _, last = held[0]
    reasons = [f"{len(vendors)} vendors are paid to one account."]
    if len(held) > _NAMED:
        reasons.append(f"{len(held)} records have its number; the latest {_NAMED} are named.")
    if len({one.person for _, _, one in held}) == 1 and last.person is not None:
        reasons.append("One person made the accounts.")
    yield Verdict(
        "shared_bank_account",
        (about,),
        [key for _, key, _ in held[:_NAMED]],
        "bank_account",
        last.company_id,
        vendors[1],
        held[0][0],
        reasons,
        [one.event_id for _, _, one in reversed(held[:_NAMED])],
    )


def _vendors(held: Sequence[Held], section: DutiesSection) -> list[int]:
    """Since when each vendor has the number, in order of time: those that are one by the policy count once."""
    group_of: dict[str, int] = {}  # by what tells a vendor, so that a number of thousands costs no look at each pair
    merged: list[int] = []  # the group that a group turned out to be part of, or itself
    since: list[int] = []

    def whole(group: int) -> int:
        while merged[group] != group:
            group = merged[group]
        return group

    for one in held:
        names = [f"firm {one.firm}"]
        if one.vat and section.one_vat_one_vendor:
            names.append(f"vat {one.vat}")
        for number, sisters in enumerate(section.sister_vendors):
            if one.firm in sisters or any(_letters(sister) == one.vat for sister in sisters if one.vat):
                names.append(f"sisters {number}")
        met = {whole(group_of[name]) for name in names if name in group_of}
        if not met:
            met.add(len(merged))
            merged.append(len(merged))
            since.append(one.since)
        group = min(met)
        for other in met:  # several that looked apart are one
            merged[other] = group
        for name in names:
            group_of[name] = group
    return [first for group, first in enumerate(since) if merged[group] == group]


def letters(vat: str | None) -> str | None:
    """A tax number without spaces and punctuation, or None."""
    return (_letters(vat) or None) if vat else None


def _letters(vat: str) -> str:
    return "".join(letter for letter in vat.upper() if letter.isalnum())
