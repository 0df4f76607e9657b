"""The data dictionary: docs/data-dictionary.md, generated from the schemas. Run: python -m schemas.dictionary"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from finwatch.runtime.topics import TOPICS
from schemas.catalogue import Schema, current
from schemas.compatibility import HEADER
from schemas.tree import Column, Node, tree

PATH = Path(__file__).parent.parent / "docs" / "data-dictionary.md"
_INTRODUCTION = """# Data dictionary

Generated from `schemas/avro` by `python -m schemas.dictionary`; do not edit.

Every record is Avro in Confluent's wire format; its subject in the registry is its full name. Field names are the same
in Python and SQL. Times are UTC with microseconds, amounts are decimals with six places, always with a currency
beside them. *null* says that a field may be empty.
"""


def render(schemas: Mapping[str, Schema] | None = None) -> str:
    """The whole page."""
    known = dict(current() if schemas is None else schemas)
    header = known.pop(HEADER, None)
    common = len(header.definition["fields"]) if header is not None else 0
    lines = [_INTRODUCTION]
    lines += ["## Contents", "", "| record | topics | what it is |", "|---|---|---|"]
    for schema in known.values():
        short = schema.full_name.rpartition(".")[2]
        meaning = _cell(schema.definition.get("doc", ""))
        topics = ", ".join(f"`{topic}`" for topic in _topics(schema)) or "-"
        lines.append(f"| [{short}](#{short.lower()}) | {topics} | {meaning} |")
    if header is not None:
        lines += ["", "## Event header", "", "The first columns of every event.", "", *_table(tree(header).columns)]
    for schema in known.values():
        short = schema.full_name.rpartition(".")[2]
        columns = tree(schema).columns
        lines += ["", f"## {short}", "", schema.definition.get("doc", ""), ""]
        topics = ", ".join(f"`{topic}`" for topic in _topics(schema))
        lines += [f"`{schema.full_name}` on {topics}." if topics else f"`{schema.full_name}`."]
        if header is not None and schema.definition["fields"][:common] == header.definition["fields"]:
            lines += ["Begins with the [event header](#event-header); then:"]
            columns = columns[common:]
        lines += ["", *_table(columns)]
    return "\n".join(lines) + "\n"


def _topics(schema: Schema) -> list[str]:
    found = [topic.name for topic in TOPICS if schema.full_name in topic.records]
    return found if len(found) < 5 else ["finance.<entity>.v1"]


def _table(columns: tuple[Column, ...]) -> Iterator[str]:
    yield "| field | type | null | meaning |"
    yield "|---|---|---|---|"
    for name, node, doc in _rows(columns, ""):
        yield f"| `{name}` | {_kind(node)} | {'null' if node.nullable else ''} | {_cell(doc)} |"


def _rows(columns: tuple[Column, ...], path: str) -> Iterator[tuple[str, Node, str]]:
    for column in columns:
        name = f"{path}{column.name}"
        yield name, column.type, column.doc
        inner = column.type.item if column.type.kind in ("array", "map") else column.type
        if inner is not None and inner.kind == "record":
            yield from _rows(inner.columns, f"{name}{'[]' if column.type.kind == 'array' else ''}.")


def _kind(node: Node) -> str:
    if node.kind == "decimal":
        return f"decimal({node.precision},{node.scale})"
    if node.kind in ("array", "map") and node.item is not None:
        return f"{node.kind} of {_kind(node.item)}"
    if node.kind == "record":
        return node.name.rpartition(".")[2]
    return node.kind


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
