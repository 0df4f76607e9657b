"""CSV logs, read as a stream: memory does not grow with the file."""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from typing import IO

from producers.eventlog.errors import LogError
from producers.eventlog.events import LogEvent
from producers.eventlog.mapping import CsvFormat

MAX_LINE = 1024 * 1024


def _lines(stream: IO[bytes], name: str, encoding: str, told: Callable[[], None]) -> Iterator[str]:
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    number = 0
    try:
        while True:
            number += 1
            line = text.readline(MAX_LINE)
            if not line:
                return
            if len(line) >= MAX_LINE:
                raise LogError(name, number, f"a line longer than {MAX_LINE} characters")
            if "\x00" in line:
                raise LogError(name, number, "a NUL character: not a text file")
            if number % 1000 == 0:
                told()
            yield line
    except UnicodeDecodeError as error:
        raise LogError(
            name, number, f"not {error.encoding} text", "set csv.encoding in the mapping, for example cp1252"
        ) from None
    finally:
        if not stream.closed:
            text.detach()  # the stream is its opener's to close


def read_csv(
    stream: IO[bytes], name: str, form: CsvFormat, columns: list[str], told: Callable[[], None] = lambda: None
) -> Iterator[LogEvent]:
    """The rows of a file in its order; `columns` must be in its header. Raises LogError, with the line."""
    encoding = "utf-8-sig" if codecs.lookup(form.encoding).name == "utf-8" else form.encoding
    reader = csv.reader(
        _lines(stream, name, encoding, told),
        delimiter=form.delimiter,
        quotechar=form.quote or None,
        quoting=csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE,
        doublequote=True,
        strict=True,
    )
    try:
        header = next(reader, None)
        if not header:
            raise LogError(name, 1, "empty: the first line must hold the names of the columns")
        missing = [column for column in columns if column not in header]
        if missing:
            raise LogError(
                name,
                1,
                f"no column {', '.join(missing)}; there are {', '.join(header[:50])}",
                "correct the mapping's columns or csv.delimiter",
            )
        twice = sorted({column for column in header if header.count(column) > 1} & set(columns))
        if twice:
            raise LogError(name, 1, f"the column {twice[0]} stands there twice")
        line = reader.line_num + 1
        position = 0
        for row in reader:
            if row:
                if len(row) != len(header):
                    raise LogError(name, line, f"{len(row)} columns, the header has {len(header)}")
                yield LogEvent(line, position, dict(zip(header, row, strict=True)), {})
                position += 1
            line = reader.line_num + 1
    except csv.Error as error:
        raise LogError(name, reader.line_num, f"not CSV as the mapping describes it: {error}") from None
