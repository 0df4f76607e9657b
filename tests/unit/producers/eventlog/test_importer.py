"""A whole import: order, ids, the end of the log, and what happens when a log is wrong."""

import gzip
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers.eventlog import ImportSummary, LogError, Mapping, Progress, import_log, load_mapping
from producers.eventlog.importer import Stopped
from producers.eventlog.mapping import parse_mapping
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry

REGISTRY = EmbeddedRegistry()
REPORTS = "finance.expense_report.v1"
MAPPING = """source: log
entity: expense_report
currency: EUR
time_zone: Europe/Amsterdam
columns: {actor: who, amount: sum, event_id: id}
anonymous_actors: [STAFF]
other_activities: refuse
activities:
  Submit: {activity: submitted}
  Approve: {activity: approved, decision: approved, role: supervisor, step: first}
  Order: {activity: ordered, entity: purchase_order}
"""
CSV = """source: log
entity: bill
time_zone: Europe/Amsterdam
columns: {record_id: case, activity: what, timestamp: when, amount: sum, currency: cur, role: role}
csv: {delimiter: ";", encoding: cp1252, timestamp_format: "%d.%m.%Y %H:%M", decimal_comma: true}
other_activities: skip
activities:
  Gebucht: {activity: posted}
"""


class Published:
    """A publisher that keeps what it gets and where it was flushed."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, bytes, int | None]] = []
        self.flushes: list[int] = []

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        assert value is not None
        self.records.append((topic, key, value, partition))

    def flush(self) -> None:
        self.flushes.append(len(self.records))

    def plain(self, name: str = "finwatch.Transition") -> list[dict[str, Any]]:
        found = (describe(value, REGISTRY) for _, _, value, _ in self.records)
        return [record for record in found if record["$schema"] == name]


def event(name: str, at: str, **attributes: str) -> str:
    more = "".join(f'<string key="{key}" value="{value}"/>' for key, value in attributes.items())
    return f'<event><string key="concept:name" value="{name}"/><date key="time:timestamp" value="{at}"/>{more}</event>'


def trace(name: str, *events: str) -> str:
    return f'<trace><string key="concept:name" value="{name}"/>{"".join(events)}</trace>\n'


def log(*traces: str) -> bytes:
    return f"<log>\n{''.join(traces)}</log>".encode()


def run(path: Path, mapping: str | Mapping = MAPPING, **options: Any) -> tuple[Published, ImportSummary]:
    published = Published()
    known = parse_mapping(mapping, "m.yaml") if isinstance(mapping, str) else mapping
    summary = import_log([path], known, published, registry=REGISTRY, partitions=lambda topic: 4, **options)
    return published, summary


def write(folder: Path, content: bytes, name: str = "log.xes") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_events_are_published_in_time_order_across_cases_and_the_end_is_told(tmp_path: Path) -> None:
    published, summary = run(
        write(
            tmp_path,
            log(
                trace(
                    "b", event("Submit", "2024-03-01T10:00:00Z"), event("Approve", "2024-03-05T10:00:00Z", who="anna")
                ),
                trace("a", event("Submit", "2024-03-02T10:00:00Z", sum="12.3456789", who="STAFF")),
                trace("c", event("Order", "2024-03-02T11:00:00+01:00")),
            ),
        )
    )
    records = published.plain()
    assert [(r["record_id"], r["activity"]) for r in records] == [
        ("b", "submitted"), ("a", "submitted"), ("c", "ordered"), ("b", "approved"),
    ]  # fmt: skip
    assert [topic for topic, _, _, _ in published.records[:4]] == [
        REPORTS, REPORTS, "finance.purchase_order.v1", REPORTS,
    ]  # fmt: skip
    assert [key for _, key, _, _ in published.records[:4]] == [r["document_key"] for r in records]
    assert all(r["observed_at"] == r["occurred_at"] and r["timeline"] == r["mode"] == "log" for r in records)
    assert (records[1]["amount"], records[1]["currency"], records[1]["actor"]) == ("12.345679", "EUR", None)
    assert (records[3]["role"], records[3]["step"], records[3]["decision"]) == ("supervisor", "first", "approved")
    assert (records[3]["actor"], records[3]["currency"]) == ("anna", None)
    beats = published.records[4:]
    assert Counter((topic, partition) for topic, _, _, partition in beats) == Counter(
        (topic, partition)
        for topic in ("finance.expense_report.v1", "finance.purchase_order.v1")
        for partition in range(4)
    )
    for beat in published.plain("finwatch.Heartbeat"):
        assert (beat["source"], beat["at"], beat["final"]) == ("log", "2024-03-05T10:00:00Z", True)
    assert published.flushes == [4, 12], "events are acknowledged before the end is told"
    assert (summary.events, summary.documents, summary.heartbeats, summary.files) == (4, 3, 8, 1)
    assert summary.activities == Counter(submitted=2, approved=1, ordered=1)


CASES = st.lists(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["Submit", "Approve"])), max_size=5), max_size=6)


@given(cases=CASES, memory=st.sampled_from([1, 2000, 10**9]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_is_by_time_then_as_in_the_file(cases: list[list[tuple[int, str]]], memory: int, tmp_path: Path) -> None:
    content = log(
        *(
            trace(f"c{case}", *(event(name, f"2024-01-01T00:00:0{second}Z") for second, name in events))
            for case, events in enumerate(cases)
        )
    )
    published, _ = run(write(tmp_path, content), memory=memory, temporary=tmp_path)
    expected = sorted(
        ((second, f"c{case}", name) for case, events in enumerate(cases) for second, name in events),
        key=lambda entry: entry[0],
    )
    assert [(int(r["occurred_at"][17:19]), r["record_id"], r["label"]) for r in published.plain()] == expected
    ids = [r["event_id"] for r in published.plain()]
    assert len(set(ids)) == len(ids)


def test_importing_again_repeats_the_ids_and_other_content_is_another_event(tmp_path: Path) -> None:
    content = log(trace("a", event("Submit", "2024-03-01T10:00:00Z", id="7"), event("Submit", "2024-03-01T10:00:00Z")))
    first, _ = run(write(tmp_path, content))
    again, _ = run(write(tmp_path, gzip.compress(content), "log.xes.gz"))
    assert first.records == again.records
    other, _ = run(write(tmp_path, content.replace(b"10:00", b"10:01")))
    ids = {record["event_id"] for record in first.plain()}
    assert len(ids) == 2
    assert not ids & {record["event_id"] for record in other.plain()}


def test_an_id_of_its_own_survives_a_new_export_with_more_events(tmp_path: Path) -> None:
    known = event("Submit", "2024-03-02T10:00:00Z", id="7")
    one, _ = run(write(tmp_path, log(trace("a", known))))
    two, _ = run(write(tmp_path, log(trace("a", event("Submit", "2024-03-01T10:00:00Z", id="6"), known))))
    assert one.plain()[0]["event_id"] == two.plain()[1]["event_id"]


def test_a_time_without_offset_is_local(tmp_path: Path) -> None:
    content = log(trace("a", event("Submit", "2024-07-01T10:00:00")))
    published, _ = run(write(tmp_path, content))
    assert published.plain()[0]["occurred_at"] == "2024-07-01T08:00:00Z"
    with pytest.raises(LogError, match="no time zone"):
        run(write(tmp_path, content), MAPPING.replace("time_zone: Europe/Amsterdam\n", ""))


WRONG = {
    "an unknown activity": (trace("a", event("Dance", "2024-03-01T10:00:00Z")), r'line 2: .*"Dance"'),
    "no time": (trace("a", "<event><string key='concept:name' value='Submit'/></event>"), "line 2: no time:timestamp"),
    "a wrong time": (trace("a", event("Submit", "yesterday")), "line 2: time:timestamp is no time in ISO 8601"),
    "no activity": (trace("a", event("", "2024-03-01T10:00:00Z")), "line 2: no concept:name"),
    "no case": (trace("", event("Submit", "2024-03-01T10:00:00Z")), "line 2: no case:concept:name"),
    "a wrong amount": (trace("a", event("Submit", "2024-03-01T10:00:00Z", sum="12,50")), "line 2: sum is no number"),
    "no finite amount": (trace("a", event("Submit", "2024-03-01T10:00:00Z", sum="NaN")), "line 2: sum is no amount"),
    "an absurd amount": (trace("a", event("Submit", "2024-03-01T10:00:00Z", sum="1e99")), "line 2: sum is no amount"),
    "a huge value": (trace("x" * 5000, event("Submit", "2024-03-01T10:00:00Z")), "line 2: .*longer than 4096"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_log_that_is_wrong_anywhere_publishes_nothing(what: str, tmp_path: Path) -> None:
    wrong, message = WRONG[what]
    published = Published()
    good = trace("ok", event("Submit", "2024-03-01T10:00:00Z"))
    path = write(tmp_path, log(wrong, good))
    with pytest.raises(LogError, match=message) as refused:
        import_log([write(tmp_path, log(good), "good.xes"), path], parse_mapping(MAPPING, "m"), published,
                   registry=REGISTRY, partitions=lambda topic: 4)  # fmt: skip
    assert published.records == []
    assert "12,50" not in str(refused.value) and "1e99" not in str(refused.value)


@pytest.mark.parametrize(("rule", "published_as"), [("skip", []), ("changed", ["changed"])])
def test_other_activities_by_rule(rule: str, published_as: list[str], tmp_path: Path) -> None:
    content = log(trace("a", event("Dance", "2024-03-01T10:00:00Z")))
    published, summary = run(write(tmp_path, content), MAPPING.replace("refuse", rule))
    assert [record["activity"] for record in published.plain()] == published_as
    assert summary.skipped == (Counter({"Dance": 1}) if rule == "skip" else Counter())
    assert summary.heartbeats == (0 if rule == "skip" else 4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda packed: packed[:-20], "ends early"),
        (lambda packed: packed[:60] + b"\xff" * 40 + packed[100:], "damaged|not well-formed"),
        (lambda packed: packed[:12], "ends early"),
    ],
)
def test_a_spoilt_gzip_file_is_refused(spoil: Any, message: str, tmp_path: Path) -> None:
    content = log(
        *(trace(f"{n}", event("Submit", f"2024-03-01T10:00:{n % 60:02}Z", id=str(n * n))) for n in range(500))
    )
    with pytest.raises(LogError, match=message):
        run(write(tmp_path, spoil(gzip.compress(content)), "log.xes.gz"))


def test_a_file_that_is_not_there_or_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="No such file"):
        run(tmp_path / "none.xes")
    with pytest.raises(LogError, match=r"neither \.xes nor \.csv"):
        run(write(tmp_path, b"x", "log.parquet"))


def test_csv_with_its_dialect(tmp_path: Path) -> None:
    text = (
        "case;what;when;sum;cur;role\n"
        '1;Gebucht;01.07.2024 10:00;"1.234,50";CHF;Chef der Küche\n'
        '2;Anderes;01.07.2024 09:00;;;\n"3\n3";Gebucht;01.07.2024 09:00;;;\n'
    )
    published, summary = run(write(tmp_path, text.encode("cp1252"), "log.csv"), CSV)
    one, two = published.plain()
    assert (one["record_id"], one["role"], one["amount"], one["currency"]) == ("3\n3", None, None, None)
    assert (two["record_id"], two["role"], two["amount"], two["currency"]) == (
        "1",
        "chef_der_küche",
        "1234.500000",
        "CHF",
    )
    assert two["occurred_at"] == "2024-07-01T08:00:00Z"
    assert summary.skipped == Counter(Anderes=1)


HEADER = b"case;what;when;sum;cur;role\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: empty"),
        (b"case,what,when,sum\n", "line 1: no column case, what, when"),
        (HEADER + b"1;Gebucht\n", "line 2: 2 columns, the header has 6"),
        (HEADER + b'1;"Gebucht\n', "not CSV"),
        (HEADER + b"1;Geb\x00ucht;01.07.2024 10:00;;;\n", "line 2: a NUL character"),
        (HEADER + b"1;" + b"x" * 3_000_000 + b"\n", "line 2: a line longer than"),
        (HEADER + b"1;" + b"x" * 200_000 + b";01.07.2024 10:00;;;\n", "not CSV.*field larger"),
        (HEADER + b"1;Gebucht;2024-07-01;;;\n", "line 2: when is no time in the format"),
        (HEADER.replace(b"role", b"case"), "no column role|stands there twice"),
    ],
)
def test_csv_that_is_wrong_is_refused_with_its_line(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(LogError, match=message):
        run(write(tmp_path, content, "log.csv"), CSV)


def test_csv_in_another_encoding_is_refused(tmp_path: Path) -> None:
    content = HEADER + "1;Gebücht;01.07.2024 10:00;;;\n".encode("cp1252")
    with pytest.raises(LogError, match="not utf-8 text"):
        run(write(tmp_path, content, "log.csv"), CSV.replace("cp1252", "utf-8"))


def test_progress_reaches_its_end_and_stopping_stops(tmp_path: Path) -> None:
    content = log(*(trace(f"{n}", event("Submit", "2024-03-01T10:00:00Z", id="x" * 90)) for n in range(5000)))
    told: list[Progress] = []
    path = write(tmp_path, gzip.compress(content), "log.xes.gz")
    run(path, progress=told.append)
    assert told[-1] == Progress("publish", path.stat().st_size, path.stat().st_size, 5000, 5000)
    assert len([p for p in told if p.phase == "read"]) > 5
    assert [p.bytes_read for p in told] == sorted(p.bytes_read for p in told)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped, match="nothing was published"):
        run(path, stop=stop)
    halfway = threading.Event()

    def stop_halfway(progress: Progress) -> None:
        if progress.phase == "publish":
            halfway.set()

    with pytest.raises(Stopped, match="of 5000 events"):
        run(path, stop=halfway, progress=stop_halfway)


def test_an_empty_log_publishes_nothing(tmp_path: Path) -> None:
    published, summary = run(write(tmp_path, b"<log/>"))
    assert published.records == []
    assert summary.first_at is None


@pytest.mark.slow
def test_the_travel_declarations(data_dir: Path) -> None:
    published, summary = run(
        data_dir / "bpi2020" / "DomesticDeclarations.xes.gz", load_mapping(Path("travel_declarations"))
    )
    assert (summary.events, summary.documents, summary.heartbeats) == (55_628, 10_357, 4)
    records = published.plain()
    decisions = Counter((record["role"], record["decision"]) for record in records if record["decision"])
    assert decisions == {
        ("administration", "approved"): 8061, ("administration", "rejected"): 936,
        ("pre_approver", "approved"): 685, ("pre_approver", "rejected"): 86,
        ("budget_owner", "approved"): 2747, ("budget_owner", "rejected"): 57,
        ("supervisor", "approved"): 9999, ("supervisor", "rejected"): 286,
        ("missing", "rejected"): 89,
    }  # fmt: skip
    assert len({record["event_id"] for record in records}) == 55_628
    assert [record["occurred_at"] for record in records] == sorted(record["occurred_at"] for record in records)
    assert all(Decimal(record["amount"]) >= 0 for record in records)
