"""Manners: pace, page sizes, patience, and the server's clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from producers.odoo.accounts import AccountHasher
from producers.odoo.errors import AccessDenied, AccessRefused, OdooError, Unavailable
from producers.odoo.mapping.spec import Source
from producers.odoo.politeness import Limits, Manners, Pace, PageSizes, PoliteTransport, Skew
from producers.odoo.reader import Reader
from tests.unit.producers.odoo.fakes import FakeOdoo

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


class Slow(FakeOdoo):
    """A server that takes its time, and fails as told; its clock runs with the test's, ahead of it by `skew`."""

    def __init__(self, clock: ManualClock, *, skew: float = 0.0) -> None:
        super().__init__(START)
        self._clock, self.skew = clock, timedelta(seconds=skew)
        self.seconds_a_row = 0.0
        self.to_fail: Iterator[OdooError | None] = iter(())
        self.asked: list[tuple[float, int]] = []
        self._told: datetime | None = None

    def server_time(self) -> datetime | None:
        """As the Date header of the last answer told it."""
        return self._told

    def search_read(self, model: str, domain: Any, fields: Any, *, limit: int, **options: Any) -> Any:
        """As an Odoo that makes row after row."""
        self.asked.append((self._clock.monotonic(), limit))
        failure = next(self.to_fail, None)
        if failure is not None:
            raise failure
        rows = super().search_read(model, domain, fields, limit=limit, **options)
        self._clock.wait(self.seconds_a_row * len(rows), _never)
        self._told = (self._clock.now() + self.skew).replace(microsecond=0)
        return rows


class _Never:
    def is_set(self) -> bool:
        """Not stopped."""
        return False


_never: Any = _Never()


def polite(clock: ManualClock, server: Slow, **limits: Any) -> tuple[PoliteTransport, Metrics]:
    metrics = Metrics()
    return PoliteTransport(server, Manners(Limits(**limits), clock, "erp", metrics)), metrics


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"finwatch_{name}", {"source": "erp", **labels}) or 0.0


def partners(server: Slow, count: int) -> None:
    for number in range(1, count + 1):
        server.put("res.partner", {"id": number, "name": f"P{number}"}, START)


def test_requests_keep_the_pace() -> None:
    clock = ManualClock(START)
    server = Slow(clock)
    transport, metrics = polite(clock, server, rate=4.0)
    for _ in range(20):
        transport.search_read("res.partner", [], ["name"], limit=1)
    times = [at for at, _ in server.asked]
    for first in times:
        assert sum(first <= at < first + 1 for at in times) <= 5
    assert times[-1] == pytest.approx(19 / 4)
    assert value(metrics, "capture_throttled_seconds_total") == pytest.approx(times[-1], abs=0.1)


@given(st.lists(st.floats(0, 3), min_size=2, max_size=60), st.floats(0.5, 20))
def test_no_second_holds_more_than_the_rate(gaps: list[float], rate: float) -> None:
    pace, now, made = Pace(rate), 100.0, []
    for gap in gaps:
        now += gap
        now += pace.wait(now)
        made.append(now)
    for first in made:
        assert sum(first <= at < first + 10 for at in made) <= 10 * rate + 1.001


def test_what_passes_is_asked_again_and_what_does_not_is_raised_at_once() -> None:
    clock = ManualClock(START)
    server = Slow(clock)
    partners(server, 1)
    transport, metrics = polite(clock, server)
    server.to_fail = iter([Unavailable("HTTP 502"), Unavailable("no answer in time")])
    assert len(transport.search_read("res.partner", [], ["name"], limit=5)) == 1
    assert len(server.asked) == 3
    assert value(metrics, "capture_retries_total", kind="unavailable") == 2
    for failure in (AccessDenied("no"), AccessRefused("no")):
        server.to_fail = iter([failure])
        with pytest.raises(type(failure)):
            transport.search_read("res.partner", [], ["name"], limit=5)
    assert len(server.asked) == 5


def test_patience_ends() -> None:
    clock = ManualClock(START)
    server = Slow(clock)
    transport, _ = polite(clock, server, patience=20.0)
    server.to_fail = iter([Unavailable("down")] * 1000)
    with pytest.raises(Unavailable, match="down"):
        transport.search_read("res.partner", [], ["name"], limit=5)
    assert 5 < clock.monotonic() <= 20
    assert len(server.asked) < 15  # waits grow


def test_the_servers_wish_is_kept_by_every_request_even_beyond_patience() -> None:
    clock = ManualClock(START)
    server = Slow(clock)
    transport, metrics = polite(clock, server, patience=30.0)
    server.to_fail = iter([Unavailable("HTTP 429", retry_after=7.0)])
    transport.search_read("res.partner", [], ["name"], limit=5)
    assert server.asked[1][0] - server.asked[0][0] >= 7.0
    server.to_fail = iter([Unavailable("HTTP 429", retry_after=300.0)])
    with pytest.raises(Unavailable):
        transport.search_read("res.partner", [], ["name"], limit=5)
    failed_at = clock.monotonic()
    transport.search("res.partner", [], limit=5)
    assert server.asked[-1][0] - failed_at >= 300.0
    assert value(metrics, "capture_throttled_seconds_total") >= 307.0


def read_all(transport: PoliteTransport, most: int) -> list[int]:
    source = Source("erp", "db", 18, AccountHasher(b"k" * 32))
    reader = Reader(transport, source, most, ("en_US",), lambda *_: None, lambda *_: None, get_logger("test"))
    return [row["id"] for rows in reader.pages("res.partner", [], ["name"]) for row in rows]


def test_pages_shrink_for_a_slow_server_grow_for_a_fast_one_and_lose_nothing() -> None:
    clock = ManualClock(START)
    server = Slow(clock)
    partners(server, 5000)
    transport, metrics = polite(clock, server, page_least=50, page_seconds=1.0)
    server.seconds_a_row = 0.005  # 200 rows a second
    assert read_all(transport, 1000) == list(range(1, 5001))
    sizes = [size for _, size in server.asked]
    assert sizes[0] == 1000
    assert sizes[-1] == pytest.approx(200, rel=0.1)
    assert value(metrics, "capture_page_size", model="res.partner") == sizes[-1]
    server.seconds_a_row = 0.0
    assert read_all(transport, 1000) == list(range(1, 5001))
    assert max(size for _, size in server.asked) == 1000 == server.asked[-1][1]
    server.seconds_a_row = 1.0
    assert read_all(transport, 1000) == list(range(1, 5001))
    assert server.asked[-1][1] == 50


def test_a_page_that_times_out_is_asked_for_in_halves() -> None:
    clock = ManualClock(START)

    class Limited(Slow):
        def search_read(self, model: str, domain: Any, fields: Any, *, limit: int, **options: Any) -> Any:
            if limit > 300:
                self.asked.append((clock.monotonic(), limit))
                clock.wait(60, _never)
                raise Unavailable("no answer in time")
            return super().search_read(model, domain, fields, limit=limit, **options)

    server = Limited(clock)
    partners(server, 700)
    transport, _ = polite(clock, server, patience=30.0)
    assert read_all(transport, 1000) == list(range(1, 701))
    assert [size for _, size in server.asked[:3]] == [1000, 500, 250]


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 5000), st.floats(0, 100), st.booleans()), max_size=40),
    st.integers(1, 500),
    st.integers(1, 5000),
)
def test_page_sizes_stay_in_their_bounds(answers: list[tuple[int, int, float, bool]], least: int, most: int) -> None:
    sizes = PageSizes(least, 2.0)
    for asked, rows, seconds, failed in answers:
        if failed:
            sizes.failed("m", asked)
        else:
            sizes.took("m", asked, min(rows, asked), seconds)
        assert min(least, most) <= sizes.of("m", most) <= most


@given(
    st.floats(-5e4, 5e4),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0.001, 2), st.floats(0, 1)), min_size=1, max_size=30),
)
def test_the_servers_clock_is_found_within_a_second_and_a_request(
    ahead: float, requests: list[tuple[float, float, float]]
) -> None:
    skew, now, offset = Skew(), START, timedelta(seconds=ahead)
    shortest = min(seconds for _, seconds, _ in requests)
    for pause, seconds, share in requests:
        sent = now + timedelta(seconds=pause)
        now = sent + timedelta(seconds=seconds)
        stamped = sent + timedelta(seconds=seconds * share) + offset
        skew.answered(stamped.replace(microsecond=0), sent, now)
    assert skew.known is not None
    assert abs(skew.known - offset) <= timedelta(seconds=(1 + shortest) / 2, microseconds=5)


def test_a_clock_that_was_set_is_found_again() -> None:
    skew = Skew()
    for hours in (0, 2):
        at = START + timedelta(hours=hours)
        skew.answered(at + timedelta(hours=hours), at, at)
        assert skew.known is not None
        assert abs(skew.known - timedelta(hours=hours)) <= timedelta(seconds=1)


def test_skew_is_a_metric_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock(START)
    server = Slow(clock, skew=-7200.0)
    transport, metrics = polite(clock, server)
    for _ in range(5):
        clock.wait(1.3, _never)
        transport.search_read("res.partner", [], ["name"], limit=1)
    assert value(metrics, "capture_clock_skew_seconds") == pytest.approx(-7200, abs=1)
    assert capsys.readouterr().out.count("clock and this machine's differ") == 1


def test_fields_are_always_named() -> None:
    clock = ManualClock(START)
    transport, _ = polite(clock, Slow(clock))
    with pytest.raises(ValueError, match="fields"):
        transport.search_read("res.partner", [], [], limit=1)


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in ({"rate": -1}, {"concurrency": 0}, {"page_least": 0}, {"page_seconds": 0}, {"patience": -1}):
        with pytest.raises(ValueError, match="must"):
            Limits(**wrong)  # type: ignore[arg-type]
