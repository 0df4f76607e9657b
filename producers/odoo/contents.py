"""What documents said last: for the `before` of a change and the content of a deletion, within a bound of bytes.

A million contents would be a gigabyte, so only those published lately are held; of the others `before` is not known
and an event says so by saying nothing. Holds the very bytes that the content hash was made of.
"""

import datetime as dt
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from finwatch.runtime.topics import entity_record
from producers.odoo.mapping.spec import Document
from schemas.registry import newest
from schemas.tree import Node, tree

ENTRY_BYTES = 200
"""What an entry costs beside its content."""
MOST_CHANGES = 200
"""Changes named in one event; a document of a thousand lines is not listed line by line."""
LINE_ID = "line_id"
CUSTOM_COLUMN = "custom"
"""Fields that a configuration adds, as a list of name and value; their changes are told one by one."""

encode_value = msgspec.msgpack.Encoder(decimal_format="string").encode
"""What contents are made of: a value, or all of them."""
_json = msgspec.json.Encoder(decimal_format="string")
# Who wrote last, and nothing else, changes when somebody saves a record as it was.
NOT_CONTENT = "written_by"


def encoded(document: Document) -> bytes:
    """What a document says, apart from when and by whom it was last written: equal bytes for equal content."""
    content = dict(document.body)
    content.pop(NOT_CONTENT, None)
    return encode_value((document.company_id, content))


class Contents:
    """Contents by model and id; those published longest ago leave when `most_bytes` are reached."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self.size = 0
        """Bytes held, entries included."""

    def get(self, model: str, record_id: int) -> bytes | None:
        """Encoded content; None when it is not held."""
        return self._held.get((model, record_id))

    @property
    def room(self) -> bool:
        """Whether it holds so little that nothing will have to leave for some time."""
        return self.size < 0.9 * self._most

    def put(self, model: str, record_id: int, content: bytes) -> None:
        """Hold a content that was published."""
        self.forget(model, record_id)
        self._held[model, record_id] = content
        self.size += len(content) + ENTRY_BYTES
        while self.size > self._most:
            _, gone = self._held.popitem(last=False)
            self.size -= len(gone) + ENTRY_BYTES

    def forget(self, model: str, record_id: int) -> None:
        """The record is gone."""
        known = self._held.pop((model, record_id), None)
        if known is not None:
            self.size -= len(known) + ENTRY_BYTES


def changes(before: bytes | None, after: bytes) -> list[dict[str, str | None]]:
    """Fields that differ, with both values as JSON text; empty when `before` is not known.

    Lines are told one by one, by their id: `lines[17].quantity`; a line that came or went as a whole.
    """
    if before is None:
        return []
    old_company, old = msgspec.msgpack.decode(before)
    new_company, new = msgspec.msgpack.decode(after)
    found: list[dict[str, str | None]] = []
    if old_company != new_company:
        found.append(_change("company_id", old_company, new_company))
    for name in new | old:
        _compare(found, name, old.get(name), new.get(name))
    return found[:MOST_CHANGES]


def _compare(found: list[dict[str, str | None]], name: str, old: Any, new: Any) -> None:
    if old == new:
        return
    if name == CUSTOM_COLUMN:
        before, after = ({one["name"]: one["value"] for one in told or ()} for told in (old, new))
        for key in after | before:
            if before.get(key) != after.get(key):
                found.append(_change(f"{name}.{key}", before.get(key), after.get(key)))
        return
    old_lines, new_lines = _lines(old), _lines(new)
    if old_lines is None or new_lines is None:
        found.append(_change(name, old, new))
        return
    for line_id in new_lines | old_lines:
        was, now = old_lines.get(line_id), new_lines.get(line_id)
        if was is None or now is None:
            found.append(_change(f"{name}[{line_id}]", was, now))
            continue
        for field in now | was:
            if was.get(field) != now.get(field):
                found.append(_change(f"{name}[{line_id}].{field}", was.get(field), now.get(field)))


def _lines(value: Any) -> dict[str, dict[str, Any]] | None:
    """Lines by id; None for what is no list of lines."""
    if not isinstance(value, list) or not all(isinstance(one, dict) and LINE_ID in one for one in value):
        return None
    return {one[LINE_ID]: one for one in value}


def _change(field: str, old: Any, new: Any) -> dict[str, str | None]:
    return {
        "field": field,
        "old": None if old is None else _json.encode(old).decode(),
        "new": None if new is None else _json.encode(new).decode(),
    }


class Restored:
    """Contents as the bodies they were, values in the types of their schema."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def body(self, entity: str, content: bytes) -> tuple[str | None, Mapping[str, Any]]:
        """(company, body) of an encoded content."""
        name = entity_record(entity)
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = tree(newest(name))
        company, body = msgspec.msgpack.decode(content)
        return company, _restored(body, node)


def _restored(value: Any, node: Node) -> Any:
    if value is None:
        return None
    if node.kind == "record":
        kinds = {column.name: column.type for column in node.columns}
        return {name: _restored(one, kinds[name]) if name in kinds else one for name, one in value.items()}
    if node.kind == "array" and node.item is not None:
        return [_restored(one, node.item) for one in value]
    if node.kind == "decimal":
        return Decimal(value)
    if node.kind == "date":
        return dt.date.fromisoformat(value)
    return value
