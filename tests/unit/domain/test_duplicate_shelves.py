"""Where blocks of bills are kept: the small ones of a relation key in one row, the others in rows of their own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates.blocks import AMOUNT, VENDOR
from finwatch.domain.duplicates.book import ROOM, SMALL, Book, Entry, Fact, Members, Said, Shelf
from finwatch.domain.duplicates.evidence import Bill
from finwatch.domain.policy import DuplicatesSection

POLICY = DuplicatesSection()


class Rows:
    """Rows in memory, written down and read again at each touch."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}

    def get(self, key: str, type: Any) -> Any:
        row = self.rows.get(key)
        return None if row is None else msgspec.msgpack.decode(row, type=type)

    def put(self, key: str, row: Any, due: int | None = None) -> None:
        self.rows[key] = msgspec.msgpack.encode(row)

    def delete(self, key: str) -> None:
        self.rows.pop(key, None)


class Kept(Rows):
    """The same, as a stage keeps them: what was got is what is put."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[str, Any] = {}

    def get(self, key: str, type: Any) -> Any:
        if key not in self.live and key in self.rows:
            self.live[key] = super().get(key, type)
        return self.live.get(key)

    def put(self, key: str, row: Any, due: int | None = None) -> None:
        self.live[key] = row

    def delete(self, key: str) -> None:
        self.live.pop(key, None)
        self.rows.pop(key, None)

    def restart(self) -> None:
        self.rows.update((key, msgspec.msgpack.encode(row)) for key, row in self.live.items())
        self.live = {}


def bill(number: int, **fields: Any) -> Bill:
    known: dict[str, Any] = {
        "version": 1,
        "company": "1",
        "document_type": "in_invoice",
        "vendor": "7",
        "reference": f"{number * 7919}-A{number}",
        "date": 20_000 + number,
        "amount": Decimal(100 + number * 13),
        "currency": "EUR",
        "created_at": (20_000 + number) * DAY,
        "vat": "BE0123456789",
        "name": "North Steel NV",
    }
    return Bill(f"odoo:bill:{number:04}", **{**known, **fields})


def kinds(rows: Kept) -> list[str]:
    rows.restart()
    return sorted(key.split(":", 1)[0] for key in rows.rows)


@pytest.mark.parametrize("side", [VENDOR, AMOUNT])
def test_a_bill_that_meets_nobody_writes_itself_and_one_row_for_its_blocks(side: str) -> None:
    rows = Kept()
    Book(rows, "odoo", side, POLICY).take(Fact(bill(1), True))
    assert kinds(rows) == ["m", "x"]
    Book(rows, "odoo", side, POLICY).take(Fact(bill(1, version=2), False))
    assert kinds(rows) == ["m"]


def test_a_block_of_many_gets_a_row_and_only_so_many_small_ones_share_one() -> None:
    rows = Kept()
    for number in range(SMALL + 1):
        Book(rows, "odoo", VENDOR, POLICY).take(Fact(bill(number, date=20_000), True))
    day = rows.get("b:odoo:v:y:7:20000", Members)
    assert day is not None
    assert len(day.entered) == SMALL + 1
    shelf = rows.get("x:odoo:v:7:", Shelf)
    assert shelf is not None
    assert "y:7:20000" not in shelf.blocks
    for number in range(SMALL + 1, 2 * ROOM):
        Book(rows, "odoo", VENDOR, POLICY).take(Fact(bill(number), True))
    assert len(rows.get("x:odoo:v:7:", Shelf).blocks) == ROOM
    # Wherever its blocks stand, each bill stands in all of them.
    for number in range(2 * ROOM):
        entry = rows.get(f"m:odoo:v:odoo:bill:{number:04}", Entry)
        for name in entry.blocks:
            block = rows.get("x:odoo:v:7:", Shelf).blocks.get(name) or rows.get(f"b:odoo:v:{name}", Members)
            assert block.full or entry.bill.key in block.entered
    # All gone: nothing of the blocks is left but that a way of writing was the vendor's own.
    for number in range(2 * ROOM):
        date = 20_000 if number <= SMALL else 20_000 + number
        Book(rows, "odoo", VENDOR, POLICY).take(Fact(bill(number, date=date, version=2), False))
    assert [key for key in rows.live if key[0] in "bx" and ":s:" not in key] == []


def facts() -> list[Fact]:
    """Copies, parts, corrections and bills that leave, of few vendors."""
    found = []
    for number in range(60):
        found.append(Fact(bill(number, vendor=str(number % 4)), True))
        if number % 3 == 0:
            at = (20_030 + number) * DAY
            key = f"odoo:bill:c{number:03}"
            copy = msgspec.structs.replace(found[-1].bill, key=key, created_at=at, reference=None)
            found.append(Fact(copy, True))
            if number % 2:
                found.append(Fact(msgspec.structs.replace(copy, version=2, amount=Decimal(7)), True))
        if number % 5 == 0:
            found.append(Fact(bill(number, vendor=str(number % 4), version=2), number % 2 == 0))
    return found


def played(keep: bool) -> list[Said]:
    """What is said; with ``keep`` False all blocks are in rows of their own before each fact, as they once were."""
    said: list[Said] = []
    for side in (VENDOR, AMOUNT):
        rows = Kept()
        for fact in facts():
            said += Book(rows, "odoo", side, POLICY).take(fact) or []
            rows.restart()
            for key in [] if keep else [key for key in rows.rows if key.startswith("x:")]:
                shelf = msgspec.msgpack.decode(rows.rows.pop(key), type=Shelf)
                for name, members in shelf.blocks.items():
                    rows.rows[f"b:odoo:{side}:{name}"] = msgspec.msgpack.encode(members)
    return said


def test_the_rows_of_earlier_versions_say_the_same() -> None:
    said = played(keep=True)
    assert len({one.finding_id for one in said}) > 15
    assert said == played(keep=False)
