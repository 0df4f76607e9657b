"""A page is put together while the next one is read, and the server is asked by one thread at a time all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from finwatch.runtime.clock import ManualClock
from producers.odoo.tracking import FIELD_FIELDS, FIELD_MODEL, MESSAGE_FIELDS, MESSAGE_MODEL, VALUE_FIELDS, VALUE_MODEL
from tests.unit.producers.odoo.fakes import PARTNER_FIELDS, FakeBroker, FakeOdoo
from tests.unit.producers.odoo.test_capture import START, capture, names, partner, visible

MODEL = "res.partner"
PAGES = 6


class WatchedOdoo(FakeOdoo):
    """Notes who asks for what, and whether two ask at once."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[tuple[str, str]] = []
        self.together = 0
        self.meanwhile: Callable[[str], None] = lambda _model: None
        self._busy = threading.Lock()

    def search_read(self, model: str, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        """See Transport."""
        free = self._busy.acquire(blocking=False)
        self.together += not free
        try:
            self.asked.append((model, threading.current_thread().name))
            self.meanwhile(model)
            return super().search_read(model, *arguments, **options)
        finally:
            if free:
                self._busy.release()


def logged(count: int) -> WatchedOdoo:
    """Vendors with a change of their name in the log, each page's of another field of the log."""
    fields: dict[str, Sequence[str]] = {
        MODEL: PARTNER_FIELDS, MESSAGE_MODEL: MESSAGE_FIELDS, VALUE_MODEL: VALUE_FIELDS, FIELD_MODEL: FIELD_FIELDS,
    }  # fmt: skip
    odoo = WatchedOdoo(START, fields)
    for number in range(1, count + 1):
        page, at = (number + 1) // 2, "2026-11-02 07:30:00"
        odoo.put(MODEL, partner(number, f"P{number}"), START - timedelta(hours=1))
        known = {"id": page, "model": MODEL, "name": f"field_{page}", "ttype": "char", "field_description": "Field"}
        odoo.put(FIELD_MODEL, known, START)
        message = {
            "id": number,
            "model": MODEL,
            "res_id": number,
            "date": at,
            "create_date": at,
            "create_uid": [7, "A"],
        }
        odoo.put(MESSAGE_MODEL, message, START)
        odoo.put(
            VALUE_MODEL,
            {
                "id": number, "field_id": [page, "Field"], "old_value_char": "old", "new_value_char": "new",
                "mail_message_id": [number, "m"], "create_uid": [7, "A"], "create_date": at,
            },
            START,
        )  # fmt: skip
    return odoo


def told(broker: FakeBroker) -> list[tuple[str, str]]:
    """What was told, apart from when it was seen."""
    return [(record, content["event_id"]) for record, content in broker.records()]


def test_read_ahead_or_not_the_same_is_told_and_nobody_asks_at_once() -> None:
    tellings = []
    for read_ahead in (True, False):
        odoo, broker = logged(2 * PAGES), FakeBroker()
        capture(odoo, broker, ManualClock(START), read_ahead=read_ahead).snapshot()
        assert names(broker) == visible(odoo)
        assert odoo.together == 0
        # The fields of the log are asked for page by page, by whoever puts the page together.
        assert [who for model, who in odoo.asked if model == FIELD_MODEL].count("MainThread") == PAGES + 1
        assert {who for model, who in odoo.asked if model == VALUE_MODEL} <= {"MainThread", "read-ahead"}
        tellings.append(told(broker))
    assert tellings[0] == tellings[1]
    assert len(tellings[0]) == 6 * PAGES  # created, changed, state


def test_a_page_is_read_while_the_one_before_it_is_told() -> None:
    odoo, broker, clock = logged(2 * PAGES), FakeBroker(), ManualClock(START)
    subject = capture(odoo, broker, clock)
    subject.connect()
    second = threading.Event()
    pages = []

    def meanwhile(model: str) -> None:
        if model == MODEL:
            pages.append(model)
            if len(pages) == 2:
                second.set()

    odoo.meanwhile = meanwhile
    publisher = subject._publisher
    publish, waited = publisher.publish, []

    def first_waits_for_the_second(*arguments: Any, **options: Any) -> None:
        if not waited:
            waited.append(second.wait(10.0))
        publish(*arguments, **options)

    publisher.publish = first_waits_for_the_second  # type: ignore[method-assign]
    subject.snapshot()
    assert waited == [True]
    assert names(broker) == visible(odoo)
