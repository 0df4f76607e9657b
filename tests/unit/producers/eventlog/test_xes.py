"""XES as tools write it, and as attackers do."""

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.eventlog.errors import LogError
from producers.eventlog.events import LogEvent
from producers.eventlog.xes import CHUNK, read_xes

PLAIN = b"""<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0" xmlns="http://www.xes-standard.org">
 <global scope="event"><string key="concept:name" value="default"/></global>
 <classifier name="Activity" keys="concept:name"/>
 <trace>
  <string key="concept:name" value="case 1"/>
  <event>
   <string key="concept:name" value="A &amp; B"><string key="concept:name" value="nested"/></string>
   <date key="time:timestamp" value="2017-01-09T09:49:50.000+01:00"/>
   <list key="l"><values><string key="concept:name" value="in a list"/></values></list>
   <float key="amount" value="1.5"/>
  </event>
  <event><string value="B" key="concept:name"/><boolean key="flag" value="true"/></event>
  <string key="late" value="after the events"/>
 </trace>
 <trace><event><string key="concept:name" value="C"/></event></trace>
 <event><string key="concept:name" value="outside of a trace"/></event>
</log>
"""


def events(content: bytes) -> list[LogEvent]:
    return list(read_xes(io.BytesIO(content), "test.xes"))


def test_events_come_with_their_own_attributes_and_their_traces() -> None:
    one, two, three = events(PLAIN)
    assert one.attributes == {
        "concept:name": "A & B",
        "time:timestamp": "2017-01-09T09:49:50.000+01:00",
        "amount": "1.5",
    }
    assert (one.line, one.position, two.position, three.position) == (7, 0, 1, 0)
    assert two.attributes == {"concept:name": "B", "flag": "true"}
    assert one.case == {"concept:name": "case 1", "late": "after the events"}
    assert three.case == {}
    assert one.get("concept:name") == "A & B"
    assert one.get("case:concept:name") == "case 1"
    assert one.get("case:late") == "after the events"
    assert one.get("late") is None
    assert one.get("nothing") is None


def test_a_namespace_prefix_changes_nothing() -> None:
    prefixed = PLAIN
    for tag in (b"log", b"trace", b"event", b"string", b"date", b"float", b"boolean"):
        prefixed = prefixed.replace(b"<" + tag + b" ", b"<x:" + tag + b" ").replace(
            b"<" + tag + b">", b"<x:" + tag + b">"
        )
        prefixed = prefixed.replace(b"</" + tag + b">", b"</x:" + tag + b">")
    assert [event.attributes for event in events(prefixed)] == [event.attributes for event in events(PLAIN)]


@given(size=st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_chunks_may_be_cut_anywhere(size: int) -> None:
    class Slow(io.BytesIO):
        def read(self, wanted: int | None = -1) -> bytes:
            return super().read(size)

    assert list(read_xes(Slow(PLAIN), "test.xes")) == events(PLAIN)


@pytest.mark.parametrize("cut", [0, 30, 60, 400, len(PLAIN) - 20])
def test_a_file_that_ends_early_is_refused_with_its_line(cut: int) -> None:
    with pytest.raises(LogError, match=r"test.xes, line \d+: not well-formed XML"):
        events(PLAIN[:cut])


ATTACKS = {
    "billion laughs": b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]><log>&c;</log>',
    "quadratic blow-up": b'<!DOCTYPE l [<!ENTITY a "' + b"x" * 50_000 + b'">]><log>' + b"&a;" * 10_000 + b"</log>",
    "external entity": b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><log><trace>&a;</trace></log>',
    "external DTD": b'<!DOCTYPE log SYSTEM "http://example.com/x.dtd"><log/>',
    "parameter entity": b'<!DOCTYPE l [<!ENTITY % p SYSTEM "http://example.com/x"> %p;]><log/>',
    "an empty DTD": b"<!DOCTYPE log><log/>",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_document_type_declaration_is_refused(attack: str) -> None:
    with pytest.raises(LogError, match="line 1: a document type declaration"):
        events(ATTACKS[attack])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no element found"),
        (b"case,activity\n1,A\n", "not well-formed"),
        (b"<html/>", "not an event log: the document is <html>"),
        (b"<log>\n<trace>\x00</trace></log>", "line 2: not well-formed"),
        (b"<log>&#0;</log>", "not well-formed"),
        (b'<?xml version="1.0" encoding="no-such"?><log/>', "unknown encoding|not readable"),
        (b"<log>" * 100 + b"</log>" * 100, "nested deeper"),
        (b"<log><trace><event>" + b"<string key='a'>" * 100, "nested deeper"),
        (
            b"<log><trace><event>" + b"".join(b"<int key='%d' value='1'/>" % i for i in range(2000)) + b"</event>",
            "more than 1000 attributes",
        ),
    ],
)
def test_what_is_no_log_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(LogError, match=message):
        events(content)


class Endless(io.RawIOBase):
    """`head`, then the same bytes for ever (100 MB), then nothing."""

    def __init__(self, head: bytes, filling: bytes) -> None:
        self._chunks = self._make(head, filling)
        self.read_bytes = 0

    @staticmethod
    def _make(head: bytes, filling: bytes) -> Iterator[bytes]:
        yield head
        for _ in range(100 * 1024 * 1024 // CHUNK):
            yield (filling * CHUNK)[:CHUNK]

    def read(self, size: int = -1) -> bytes:
        chunk = next(self._chunks, b"")
        self.read_bytes += len(chunk)
        return chunk


@pytest.mark.parametrize(
    "head", [b"<log><trace><string key='a' value='", b"<log><!-- ", b"<log><trace><", b"<log>", b"<log><?pi "]
)
def test_one_huge_element_is_refused_within_bounded_memory(head: bytes) -> None:
    stream = Endless(head, b"x")
    tracemalloc.start()
    with pytest.raises(LogError, match="larger than 1048576 bytes"):
        list(read_xes(cast(IO[bytes], stream), "test.xes"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stream.read_bytes < 2 * 1024 * 1024
    assert most < 16 * 1024 * 1024


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    event = b'<event><string key="concept:name" value="A"/></event>'
    with (tmp_path / "big.xes").open("wb") as file:
        file.write(b"<log>")
        for _ in range(400):
            file.write(b"<trace>" + event * 50 + b"</trace>")
        file.write(b"</log>")
    tracemalloc.start()
    with (tmp_path / "big.xes").open("rb") as file:
        assert sum(1 for _ in read_xes(file, "big.xes")) == 20_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * 1024 * 1024
