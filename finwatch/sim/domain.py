"""Search domains, compiled to predicates with the meaning Odoo's SQL gives them.

Worth knowing:
- datetimes compare with microseconds although the wire shows seconds; fractional literals work; an offset is
  ignored; a date alone means the end of the day for `>` and `<=`, its start for the other operators;
- `=` and `!=` with False mean null and not null; a negative operator with a value also matches null; `<`, `>` never
  do;
- `!` is pushed inwards by negating operators, so `!(a < 1)` is `a >= 1` and does not match null;
- a path over a many2one never matches an empty many2one, not even with a negative operator;
- a field that cannot be searched is ignored and matches every row. Raises OdooError for unknown fields, bad
  literals and malformed domains.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from finwatch.sim.errors import bad_datetime, bad_number, user_error, value_error
from finwatch.sim.fields import Field
from finwatch.sim.rules import INVERSES
from finwatch.sim.store import Database, Row, Table

Predicate = Callable[[Row], bool]

_NEGATION = {
    "<": ">=",
    ">": "<=",
    "<=": ">",
    ">=": "<",
    "=": "!=",
    "!=": "=",
    "in": "not in",
    "not in": "in",
    "like": "not like",
    "not like": "like",
    "ilike": "not ilike",
    "not ilike": "ilike",
}
_OPERATORS = frozenset(_NEGATION) | {"=like", "=ilike", "=?"}
_NEGATIVE = frozenset({"!=", "not in", "not like", "not ilike"})
_PATTERNS = frozenset({"like", "ilike", "not like", "not ilike", "=like", "=ilike"})
_NUMBERS = frozenset({"integer", "float", "monetary"})
_TIMESTAMP = re.compile(
    r"^\s*(\d{4}-\d{1,2}-\d{1,2})(?:[T ](\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?))?\s*(?:Z|[+-]\d{2}(?::?\d{2})?)?\s*$"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled domain: the predicate, and what it says of ids at its top level (to look at fewer rows)."""

    matches: Predicate
    ids: frozenset[int] | None = None
    id_after: int = 0
    """Only ids greater than this can match."""


def compile_domain(db: Database, model: str, domain: Any, *, active_test: bool = True) -> Condition:
    """Compile a domain for a model. `active_test` hides archived records unless the domain speaks of `active`."""
    db.table(model)
    terms = _normalise(domain)
    if active_test and "active" in db.table(model).model.fields and not any(_leaf_field(t) == "active" for t in terms):
        hidden = ("active", "=", True)
        terms = ["&", *terms, hidden] if terms else [hidden]
    if not terms:
        return Condition(lambda row: True)
    position, tree = _parse(terms, 0)
    if position != len(terms):  # several expressions left beside one another: joined by &
        raise value_error(f"Domain {domain!r} is malformed")
    tree = _distribute(tree, negate=False)
    ids, after = _bounds(db.table(model), tree)
    return Condition(_compile(db, model, tree), ids, after)


def search(
    db: Database,
    model: str,
    domain: Any,
    *,
    order: str | None = None,
    offset: int = 0,
    limit: int | None = None,
    active_test: bool = True,
) -> list[int]:
    """Ids that match, in order. The caller holds `db.lock`."""
    table = db.table(model)
    condition = compile_domain(db, model, domain, active_test=active_test)
    matches, rows = condition.matches, table.rows
    if condition.ids is not None:
        candidates: Sequence[int] = sorted(i for i in condition.ids if i in rows)
    elif condition.id_after:
        candidates = table.ids[bisect_right(table.ids, condition.id_after) :]
    else:
        candidates = table.ids
    keys = parse_order(db, model, order or table.model.order)
    if [name for name, _ in keys] == ["id"]:  # the table's own order, from either end
        found: list[int] = []
        wanted = (offset + limit) if limit else None
        for record_id in reversed(candidates) if keys[0][1] else candidates:
            if matches(rows[record_id]):
                found.append(record_id)
                if len(found) == wanted:
                    break
    else:
        found = [record_id for record_id in candidates if matches(rows[record_id])]
        for name, descending in reversed(keys):
            key = _sort_key(db, model, name)
            found.sort(key=lambda i, key=key: key(rows[i]), reverse=descending)  # type: ignore[misc]
    return found[offset : offset + limit] if limit else found[offset:]


def parse_order(db: Database, model: str, order: str) -> list[tuple[str, bool]]:
    """`write_date desc, id` -> [(field, descending)]; raises Odoo's errors for nonsense."""
    keys = []
    fields = db.table(model).model.fields
    for part in order.split(","):
        match = re.fullmatch(r"\s*(\w+)(?:\s+(asc|desc))?(?:\s+nulls\s+(?:first|last))?\s*", part, re.IGNORECASE)
        if not match:
            raise user_error(
                f'Invalid "order" specified ({order}). A valid "order" specification is a comma-separated list of '
                "valid field names (optionally followed by asc/desc for the direction)"
            )
        name = match.group(1)
        if name not in fields:
            raise value_error(f"Invalid field '{name}' on model '{model}'")
        keys.append((name, (match.group(2) or "").lower() == "desc"))
    return keys


def _sort_key(db: Database, model: str, name: str) -> Callable[[Row], tuple[bool, Any]]:
    """Nulls last when ascending, first when descending, as PostgreSQL does."""
    field = db.table(model).model.fields[name]
    if field.type == "many2one" and field.relation:
        relation = field.relation

        def by_name(row: Row) -> tuple[bool, Any]:
            value = row.get(name)
            return (value is None, str(db.display_name(relation, value)) if value else "")

        return by_name
    if field.type in _NUMBERS or field.type == "boolean":
        return lambda row: (False, row.get(name) or 0)
    return lambda row: (row.get(name) is None, row.get(name) or "")


# Parsing


def _leaf_field(term: Any) -> str | None:
    if isinstance(term, (list, tuple)) and len(term) == 3 and isinstance(term[0], str):
        return term[0]
    return None


def _normalise(domain: Any) -> list[Any]:
    """Check the terms and make every `&` explicit."""
    if domain is None or domain is False:
        return []
    if not isinstance(domain, (list, tuple)):
        raise value_error(f"Invalid domain {domain!r}: a list is expected")
    result: list[Any] = []
    expected = 1
    for term in domain:
        if expected == 0:  # another expression follows: an implicit & in front
            result.insert(0, "&")
            expected = 1
        if isinstance(term, str) and term in ("&", "|", "!"):
            expected += 0 if term == "!" else 1
            result.append(term)
            continue
        if not isinstance(term, (list, tuple)) or len(term) != 3:
            raise value_error(f"Invalid leaf {term!r}")
        left, operator, right = term
        if (left, operator, right) in ((1, "=", 1), (0, "=", 1)):
            result.append(tuple(term))
        else:
            if not isinstance(left, str):
                raise value_error(f"Invalid leaf {tuple(term)!r}")
            name = "!=" if operator == "<>" else operator
            if name not in _OPERATORS:
                raise value_error(f"Invalid operator in {tuple(term)!r}")
            if isinstance(right, (list, tuple)) and name in ("=", "!="):
                name = "in" if name == "=" else "not in"
            elif not isinstance(right, (list, tuple)) and name in ("in", "not in"):
                name = "=" if name == "in" else "!="
            result.append((left, name, right))
        expected -= 1
    if domain and expected != 0:
        raise value_error(f"Domain {domain!r} is syntactically not correct: an operand is missing")
    return result


def _parse(terms: list[Any], position: int) -> tuple[int, Any]:
    term = terms[position]
    if term == "!":
        end, inner = _parse(terms, position + 1)
        return end, ("!", inner)
    if term in ("&", "|"):
        middle, left = _parse(terms, position + 1)
        end, right = _parse(terms, middle)
        return end, (term, left, right)
    return position + 1, ("leaf", *term)


def _distribute(tree: Any, *, negate: bool) -> Any:
    kind = tree[0]
    if kind == "!":
        return _distribute(tree[1], negate=not negate)
    if kind in ("&", "|"):
        swapped = {"&": "|", "|": "&"}[kind] if negate else kind
        return (swapped, _distribute(tree[1], negate=negate), _distribute(tree[2], negate=negate))
    if not negate:
        return tree
    _, left, operator, right = tree
    if left in (0, 1):
        return ("leaf", 1 - left, operator, right)
    if operator in _NEGATION:
        return ("leaf", left, _NEGATION[operator], right)
    return ("!", tree)


def _bounds(table: Table, tree: Any) -> tuple[frozenset[int] | None, int]:
    """What a top-level conjunction says about ids, directly or through an index; (None, 0) when nothing."""
    if tree[0] == "&":
        if (found := _of_records(table, tree)) is not None:
            return found, 0
        left_ids, left_after = _bounds(table, tree[1])
        right_ids, right_after = _bounds(table, tree[2])
        ids = right_ids if left_ids is None else left_ids if right_ids is None else left_ids & right_ids
        return ids, max(left_after, right_after)
    if tree[0] == "leaf" and tree[1] == "id":
        operator, right = tree[2], tree[3]
        if operator == "in" and all(isinstance(i, int) for i in right):
            return frozenset(right), 0
        if operator == "=" and isinstance(right, int) and right is not False:
            return frozenset((right,)), 0
        if operator in (">", ">=") and isinstance(right, int):
            return None, right if operator == ">" else right - 1
    elif tree[0] == "leaf":
        return _indexed(table, *tree[1:]), 0
    return None, 0


def _of_records(table: Table, tree: Any) -> frozenset[int] | None:
    """Messages of given records, asked as Odoo's own index holds them: `model = m and res_id in ids`."""
    if "res_id" not in table.links or tree[1][0] != "leaf" or tree[2][0] != "leaf":
        return None
    leaves = {leaf[1]: leaf[2:] for leaf in tree[1:]}
    if "model" not in leaves or "res_id" not in leaves or leaves["model"][0] != "=":
        return None
    model, (operator, right) = leaves["model"][1], leaves["res_id"]
    ids = right if operator == "in" else [right] if operator == "=" else None
    if not ids or not all(isinstance(i, int) and i for i in ids):
        return None
    index = table.links["res_id"]
    return frozenset(message for i in ids for message in index.get((model, i), ()))


def _indexed(table: Table, name: Any, operator: str, right: Any) -> frozenset[int] | None:
    """Ids that can match, where an index tells: children of given parents, nothing newer than the newest row."""
    if name in table.links and name != "res_id":
        parents = right if operator == "in" else [right] if operator == "=" else None
        if parents and all(isinstance(i, int) and i for i in parents):
            return frozenset(child for parent in parents for child in table.links[name].get(parent, ()))
    if name in table.newest and operator in (">", ">=") and isinstance(right, str):
        literal = timestamp_literal(table.model.name, name, operator, right)
        if literal > table.newest[name]:  # a poll that finds nothing costs nothing
            return frozenset()
    return None


# Compiling


def _compile(db: Database, model: str, tree: Any) -> Predicate:
    kind = tree[0]
    if kind == "&":
        left, right = _compile(db, model, tree[1]), _compile(db, model, tree[2])
        return lambda row: left(row) and right(row)
    if kind == "|":
        left, right = _compile(db, model, tree[1]), _compile(db, model, tree[2])
        return lambda row: left(row) or right(row)
    if kind == "!":
        return _not(db, model, tree[1])
    _, name, operator, value = tree
    if name in (0, 1):
        return (lambda row: True) if name == 1 else (lambda row: False)
    return _leaf(db, model, name, operator, value)


def _not(db: Database, model: str, leaf: Any) -> Predicate:
    """NOT of an operator that has no negation (`=like`): SQL's NOT, so null stays unmatched.

    (Unless the subselect of a path is empty: then SQL finds even null not in it.)
    """
    inner = _compile(db, model, leaf)
    name, _, rest = str(leaf[1]).partition(".")
    field = db.table(model).model.fields[name]
    if rest and field.type == "many2one" and field.relation:
        target = compile_domain(db, field.relation, [(rest, leaf[2], leaf[3])], active_test=False)
        if not any(target.matches(row) for row in db.table(field.relation).rows.values()):
            return lambda row: True
    if field.related or field.to_many or field.type in _NUMBERS or field.type == "boolean":
        return lambda row: not inner(row)
    return lambda row: row.get(name) is not None and not inner(row)


def _leaf(db: Database, model: str, path: str, operator: str, value: Any) -> Predicate:
    name, _, rest = path.partition(".")
    field = db.table(model).model.fields.get(name)
    if field is None:
        raise value_error(f"Invalid field {model}.{name} in leaf {(path, operator, value)!r}")
    if rest:
        return _path(db, model, field, rest, operator, value)
    if field.related:
        return _leaf(db, model, ".".join(field.related), operator, value)
    if name == "display_name":
        return _by_name(db, model, lambda row: row["id"], operator, value)
    if not field.stored:
        return lambda row: True  # cannot be searched: Odoo ignores it and matches every row
    if operator == "=?":
        if value is None or value is False:
            return lambda row: True
        operator = "="
    if field.to_many:
        return _to_many(db, model, field, operator, value)
    if field.type == "many2one" and _names(value) and operator not in ("<", ">", "<=", ">="):
        assert field.relation
        return _by_name(db, field.relation, lambda row: row.get(name), operator, value)
    if field.type == "boolean":
        return _boolean(name, operator, value)
    return _plain(model, field, operator, value)


def _names(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, (list, tuple)) and any(isinstance(v, str) for v in value)


def _path(db: Database, model: str, field: Field, rest: str, operator: str, value: Any) -> Predicate:
    if field.relation is None:
        raise value_error(f"Invalid field {model}.{field.name} in leaf {(field.name + '.' + rest, operator, value)!r}")
    if field.related:
        return _leaf(db, model, ".".join((*field.related, rest)), operator, value)
    # Odoo searches a many2one's target with archived records, an x2many's without.
    inner = compile_domain(db, field.relation, [(rest, operator, value)], active_test=field.to_many)
    rows = db.table(field.relation).rows
    wanted = {record_id for record_id, row in rows.items() if inner.matches(row)}
    name = field.name
    if field.to_many:
        many = _reader_of_many(db, model, field)
        return lambda row: any(record_id in wanted for record_id in many(row))
    return lambda row: row.get(name) in wanted


def _reader_of_many(db: Database, model: str, field: Field) -> Callable[[Row], list[int]]:
    name = field.name
    if (model, name) not in INVERSES:
        return lambda row: row.get(name) or []

    def read(row: Row) -> list[int]:
        own = row.get(name)
        return own if own is not None else db.children(model, row["id"], name)

    return read


def _to_many(db: Database, model: str, field: Field, operator: str, value: Any) -> Predicate:
    many = _reader_of_many(db, model, field)
    if operator in ("=", "!=") and (value is False or value is None):
        return (lambda row: not many(row)) if operator == "=" else (lambda row: bool(many(row)))
    if _names(value):
        assert field.relation
        matches = _by_name(db, field.relation, lambda row: row["id"], _positive(operator), value)
        rows = db.table(field.relation).rows
        wanted = {record_id for record_id, row in rows.items() if matches(row)}
    else:
        values = value if isinstance(value, (list, tuple)) else [value]
        wanted = {int(v) for v in values if v is not False and v is not None}
    if operator in _NEGATIVE:
        return lambda row: not any(record_id in wanted for record_id in many(row))
    return lambda row: any(record_id in wanted for record_id in many(row))


def _positive(operator: str) -> str:
    return _NEGATION[operator] if operator in _NEGATIVE else operator


def _by_name(db: Database, relation: str, target: Callable[[Row], Any], operator: str, value: Any) -> Predicate:
    """A many2one compared with text: by display name."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    texts = [v for v in values if isinstance(v, str)]
    numbers = {v for v in values if isinstance(v, int) and not isinstance(v, bool)}
    positive = _positive(operator)
    checks = [_pattern(positive, text) if positive in _PATTERNS else text.__eq__ for text in texts]
    negative = operator in _NEGATIVE

    def matches(row: Row) -> bool:
        record_id = target(row)
        if not record_id:
            return negative or False in values
        name = db.display_name(relation, record_id)
        hit = record_id in numbers or (isinstance(name, str) and any(check(name) is True for check in checks))
        return hit is not negative

    return matches


def _boolean(name: str, operator: str, value: Any) -> Predicate:
    if operator in ("in", "not in"):
        wanted = {bool(v) for v in value}
        negative = operator == "not in"
        return lambda row: (bool(row.get(name)) in wanted) is not negative
    if operator not in ("=", "!="):
        raise value_error(f"Invalid operator in {(name, operator, value)!r}")
    expected = bool(value) is (operator == "=")
    return lambda row: bool(row.get(name)) is expected


def _pattern(operator: str, value: str) -> Callable[[str], bool]:
    """SQL LIKE with `%`, `_` and the escape `\\`; like and ilike wrap the value in `%`."""
    text = value if operator.startswith("=") else f"%{value}%"
    parts, escaped = [], False
    for char in text:
        if escaped:
            parts.append(re.escape(char))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append({"%": ".*", "_": "."}.get(char, re.escape(char)))
    flags = re.DOTALL | (re.IGNORECASE if "ilike" in operator else 0)
    compiled = re.compile("".join(parts), flags)
    return lambda subject: compiled.fullmatch(subject) is not None


def _plain(model: str, field: Field, operator: str, value: Any) -> Predicate:
    name = field.name
    number = field.type in _NUMBERS or name == "id"
    if operator in _PATTERNS:
        negative = operator in _NEGATIVE
        if not value and not operator.startswith("="):  # like '' is `LIKE '%%' OR NULL`: all, or when negated only null
            return lambda row: not negative or (row.get(name) is None and not number)
        check = _pattern(_positive(operator), str(value or ""))

        def like(row: Row) -> bool:
            subject = row.get(name)
            if subject is None and not number:
                return negative
            return check(str(subject or 0) if number else str(subject)) is not negative

        return like

    def read(row: Row) -> Any:
        value = row.get(name)
        return 0 if number and value is None else value

    if operator in ("in", "not in"):
        wanted = {_literal(model, field, "=", v) for v in value if v is not None and v is not False}
        null = any(v is None or v is False for v in value)
        if number and null and name != "id":
            wanted.add(0)  # numbers are never null here
        if operator == "in":
            return lambda row: null if row.get(name) is None and not number else read(row) in wanted
        if not value:
            return lambda row: True
        return lambda row: not null if row.get(name) is None and not number else read(row) not in wanted
    if value is None or value is False:
        if field.type in _NUMBERS and name != "id":
            value = 0
        elif operator == "=":
            return lambda row: row.get(name) is None
        elif operator == "!=":
            return lambda row: row.get(name) is not None
        else:  # `< false`: PostgreSQL cannot compare, and null is never less
            return lambda row: False
    wanted_value = _literal(model, field, operator, value)
    if operator == "=":
        return lambda row: read(row) == wanted_value
    if operator == "!=":
        if not value and not number:  # falsy text: SQL's plain inequality, which null never satisfies
            return lambda row: row.get(name) is not None and row.get(name) != wanted_value
        return lambda row: read(row) != wanted_value
    compare = _COMPARISONS[operator]

    def ordered(row: Row) -> bool:
        subject = read(row)
        return subject is not None and compare(subject, wanted_value)

    return ordered


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


def _literal(model: str, field: Field, operator: str, value: Any) -> Any:
    """A literal in storage form, read as PostgreSQL would read it."""
    if field.type == "datetime":
        return timestamp_literal(model, field.name, operator, value)
    if field.type == "date":
        return timestamp_literal(model, field.name, operator, value)[:10]
    if field.type in _NUMBERS or field.type in ("many2one", "many2one_reference") or field.name == "id":
        if isinstance(value, (int, float)):
            return value
        kind = "integer" if field.type not in ("float", "monetary") else "double precision"
        try:
            return int(value) if kind == "integer" else float(value)
        except (TypeError, ValueError):
            raise bad_number(kind, str(value)) from None
    return value if isinstance(value, str) else str(value)


def timestamp_literal(model: str, column: str, operator: str, value: Any) -> str:
    """A datetime literal as PostgreSQL reads it into `timestamp without time zone`: any offset is ignored."""
    table = model.replace(".", "_")
    text = value if isinstance(value, str) else str(value)
    match = _TIMESTAMP.match(text)
    if not match:
        raise bad_datetime(table, column, operator, text)
    day, time = match.groups()
    if time is None:
        time = "23:59:59.999999" if operator in (">", "<=") else "00:00:00"
    if time.count(":") == 1:
        time += ":00"
    head, _, fraction = time.partition(".")
    try:
        parsed = datetime.strptime(f"{day} {head}", "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - storage form is UTC by rule
    except ValueError:
        raise bad_datetime(table, column, operator, text) from None
    return f"{parsed:%Y-%m-%d %H:%M:%S}.{(fraction + '000000')[:6]}"
