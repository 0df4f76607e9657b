"""XES (IEEE 1849), read as a stream: memory does not grow with the file.

The file is untrusted. A document type declaration is refused as such: XES has none, and without one there are no
entities to expand or fetch (billion laughs, quadratic blow-up, external entities). One element, its attributes and the
depth of nesting are limited.
"""

from collections.abc import Callable, Iterator
from typing import IO, Any, NoReturn
from xml.parsers import expat

from producers.eventlog.errors import LogError
from producers.eventlog.events import LogEvent

CHUNK = 64 * 1024
MAX_ELEMENT = 1024 * 1024
MAX_DEPTH = 64
MAX_ATTRIBUTES = 1000
_VALUES = frozenset({"string", "date", "int", "float", "boolean", "id"})


class _Handler:
    """State of the parser between two chunks; finished events collect in `ready`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: list[LogEvent] = []
        self.moves = 0
        self.parser: Any = expat.ParserCreate()
        self.parser.ordered_attributes = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        self._depth = 0
        self._case: dict[str, str] = {}
        self._target: dict[str, str] | None = None
        self._inside = 0  # depth of what stands directly in the open event or trace
        self._line = 0
        self._position = 0

    def _refuse(self, *_: object) -> NoReturn:
        raise self.error("a document type declaration, which no event log needs and which is a way to attack readers")

    def error(self, what: str) -> LogError:
        """An error at the place that the parser has reached."""
        return LogError(self.name, self.parser.CurrentLineNumber, what)

    def _start(self, tag: str, attributes: list[str]) -> None:
        """`attributes` are names and values in turn."""
        self.moves += 1
        depth = self._depth = self._depth + 1
        target = self._target
        # Only what stands directly in an event or trace is its attribute; attributes of attributes are not.
        if target is not None and depth == self._inside:
            if tag in _VALUES:
                if len(attributes) == 4 and attributes[0] == "key" and attributes[2] == "value":
                    target[attributes[1]] = attributes[3]
                else:
                    named = dict(zip(attributes[::2], attributes[1::2], strict=True))
                    if "key" in named:
                        target[named["key"]] = named.get("value", "")
                if len(target) > MAX_ATTRIBUTES:
                    raise self.error(f"more than {MAX_ATTRIBUTES} attributes in one event or trace")
            elif tag == "event" and target is self._case:
                self._target, self._inside = {}, depth + 1
                self._line = self.parser.CurrentLineNumber
            elif ":" in tag:
                # The same element with a namespace prefix, as some tools write it.
                self._depth -= 1
                self._start(tag.rpartition(":")[2], attributes)
        elif depth == 1:
            if tag.rpartition(":")[2] != "log":
                raise self.error(f"not an event log: the document is <{tag[:40]}>, not <log>")
        elif depth == 2 and tag.rpartition(":")[2] == "trace":
            self._case = self._target = {}
            self._inside = 3
            self._position = 0
        elif depth > MAX_DEPTH:
            raise self.error(f"elements nested deeper than {MAX_DEPTH}")

    def _end(self, tag: str) -> None:
        self.moves += 1
        depth = self._depth
        self._depth = depth - 1
        target = self._target
        if target is not None and depth == self._inside - 1:
            if target is self._case:
                self._target = None
            else:
                self.ready.append(LogEvent(self._line, self._position, target, self._case))
                self._position += 1
                self._target, self._inside = self._case, depth


def read_xes(stream: IO[bytes], name: str, told: Callable[[], None] = lambda: None) -> Iterator[LogEvent]:
    """The events of a log, trace by trace in the file's order; `told()` is called for each chunk read.

    Raises LogError, with the line: not XML, cut off, no event log, or larger in some part than the limits above.
    """
    handler = _Handler(name)
    silent = 0
    while True:
        chunk = stream.read(CHUNK)
        moves = handler.moves
        try:
            handler.parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            place = f"column {error.offset + 1}: {expat.ErrorString(error.code)}"
            raise LogError(name, error.lineno, f"not well-formed XML, {place}") from None
        except (ValueError, LookupError) as error:  # an encoding that Python does not have
            raise LogError(name, None, f"not readable XML ({error})") from None
        yield from handler.ready
        handler.ready.clear()
        if not chunk:
            return
        # The parser keeps an unfinished element in memory until it ends.
        silent = silent + len(chunk) if handler.moves == moves else 0
        if silent > MAX_ELEMENT:
            raise handler.error(f"an element, text or comment larger than {MAX_ELEMENT} bytes")
        told()
