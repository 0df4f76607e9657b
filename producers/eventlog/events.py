"""What a reader hands over: one event of a log, still in the log's own words."""

from dataclasses import dataclass


@dataclass(slots=True)
class LogEvent:
    """One event. `attributes` are the event's own, `case` those of its trace (empty for CSV)."""

    line: int
    """Line in the file where the event begins."""
    position: int
    """Number of the event within its trace (XES) or of its row (CSV), from 0."""
    attributes: dict[str, str]
    case: dict[str, str]

    def get(self, name: str) -> str | None:
        """An attribute of the event, else of its trace; `case:` in front asks the trace only. Empty text is None."""
        if name.startswith("case:"):
            return self.case.get(name[5:]) or None
        return self.attributes.get(name) or self.case.get(name) or None
