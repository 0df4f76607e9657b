"""What can be wrong with an event log or its mapping. Messages name places, never people or amounts."""

from finwatch.runtime.exits import ExitCode


class LogError(Exception):
    """A log file cannot be read; nothing of it was published."""

    exit_code = ExitCode.FAILED

    def __init__(self, file: str, line: int | None, what: str, what_to_do: str = "") -> None:
        place = file if line is None else f"{file}, line {line}"
        super().__init__(f"{place}: {what}")
        self.what_to_do = what_to_do


class MappingError(Exception):
    """The mapping file cannot be used; one line a problem, each with its place and what to do."""

    exit_code = ExitCode.CONFIG
    what_to_do = "mend the mapping file; producers/eventlog/mappings/travel_declarations.yaml explains every key"
