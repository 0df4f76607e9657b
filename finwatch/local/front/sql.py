"""The little that has to be known of a statement before the engine sees it.

A scanner, not a parser: it knows strings, quoted names, comments and brackets, so that a word inside them is not taken
for a keyword, and leaves the grammar to the engine.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from finwatch.local.front.errors import refused

_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<text> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<word> [A-Za-z_]\w* )
  | (?P<sign> [()\[\];,] )
  | (?P<else> \d\w* | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_DATA_START = re.compile(rb"[ \t\f]*(?:\r?\n)?")
_REACHES_OUT = frozenset({b"file", b"python", b"embeddedrocksdb"})
"""Functions and engines that no grant closes and that read files (`SELECT file('/etc/passwd')` works in the embedded
engine, also for a readonly user), objects of this process, or make directories outside of the store."""
READS = frozenset({b"SELECT", b"WITH", b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK"})


@dataclass(frozen=True)
class Statement:
    """One statement.

    `kind`: its first word in capitals. `sql`: what the engine gets. `data` and `input_format`: body of an
    `INSERT ... FORMAT name`, then `sql` ends before FORMAT. `output_format`: of a FORMAT clause at the end.
    """

    kind: bytes
    sql: bytes
    data: bytes | memoryview | None = None
    input_format: str = ""
    output_format: str = ""
    reads: bool = False


@dataclass(frozen=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    def is_word(self, *words: bytes) -> bool:
        return self.kind == "word" and self.text.upper() in words


def _tokens(sql: bytes) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup if match.lastgroup != "tag" else "text"
        if kind is None or kind == "skip":
            continue
        text = match[0]
        if text in (b")", b"]"):
            depth -= 1
        yield _Token(kind, text, match.start(), match.end(), depth)
        if text in (b"(", b"["):
            depth += 1


def parse(sql: bytes) -> Statement:
    """Read one statement.

    Raises StoreError: 62 for an empty one and for several in one request (the engine would take them, a server does
    not), 497 for what would reach files of this machine: INTO OUTFILE, FROM INFILE, file() and its like.
    """
    kind = b""
    output_format = ""
    wants_format = inserts = False
    previous: _Token | None = None
    ended = False
    for token in _tokens(sql):
        if ended:
            raise refused(62, "SYNTAX_ERROR", "Multi-statements are not allowed")
        if token.text == b";" and token.depth == 0:
            ended = True
            continue
        if not kind and token.kind == "word":
            kind = token.text.upper()
        if token.is_word(b"OUTFILE", b"INFILE") and previous is not None and previous.is_word(b"INTO", b"FROM"):
            raise refused(497, "ACCESS_DENIED", "INTO OUTFILE and FROM INFILE are not allowed in the embedded store")
        if token.text == b"(" and previous is not None:
            _check_call(previous)
        inserts = inserts or (token.depth == 0 and token.is_word(b"INSERT"))
        if wants_format and token.kind != "word":
            wants_format = False  # format() is a function
        if wants_format:
            wants_format = False
            output_format = token.text.decode("utf-8", "replace")
            if kind == b"INSERT" and output_format.upper() != "VALUES":
                return _insert(sql, format_word=previous, name=token)
        elif token.depth == 0 and token.is_word(b"FORMAT") and previous is not None:
            wants_format = True
        elif kind == b"INSERT" and token.depth == 0 and token.is_word(b"SELECT", b"WITH"):
            kind = b"INSERT SELECT"
        previous = token
    if not kind:
        raise refused(62, "SYNTAX_ERROR", "Empty query")
    return Statement(
        kind.removesuffix(b" SELECT"), sql, output_format=output_format, reads=kind in READS and not inserts
    )


def _check_call(name: _Token) -> None:
    if name.kind == "word":
        called = name.text.lower()
    elif name.text[:1] in (b"`", b'"'):
        called = name.text[1:-1].lower()
    else:
        return
    # A quoted name may spell its letters as escapes.
    if called in _REACHES_OUT or b"\\" in called:
        raise refused(
            497, "ACCESS_DENIED", f"{called.decode('utf-8', 'replace')}() is not allowed in the embedded store"
        )


def _insert(sql: bytes, format_word: _Token | None, name: _Token) -> Statement:
    # As the server does: blanks and at most one line end belong to the statement, everything after them is data.
    begin = _DATA_START.match(sql, name.end)
    data = memoryview(sql)[begin.end() if begin else name.end :]
    head = sql[: format_word.start if format_word else name.start]
    return Statement(b"INSERT", head, data, input_format=name.text.decode("utf-8", "replace"))


def with_query_ids(sql: bytes) -> bytes:
    """A KILL QUERY with its query_id turned to where the engine keeps the client's id.

    The embedded engine gives queries ids of its own; the client's stands in their log_comment.
    """
    pieces: list[bytes] = []
    done = 0
    for token in _tokens(sql):
        if token.kind in ("word", "text") and token.text.strip(b'`"').lower() == b"query_id":
            pieces += [sql[done : token.start], b"Settings['log_comment']"]
            done = token.end
    return b"".join([*pieces, sql[done:]])


def quoted(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_name(name: str) -> str:
    """A quoted name of a database or table."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
