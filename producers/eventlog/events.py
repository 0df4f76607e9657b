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
        """An attribute of the event; with `case:` in front one of its trace (in CSV a column of just that name).

        Never the trace's in place of the event's: both have a `concept:name`, and a case is no activity. Empty text
        is None.
        """
        value = self.attributes.get(name)
        if value is None and name.startswith("case:"):
            value = self.case.get(name[5:])
        return value or None
