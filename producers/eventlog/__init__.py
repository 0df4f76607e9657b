"""Event logs (XES, XES.gz, CSV) to the entity topics, as if the systems they were exported from had been watched.

Owns: reading the files within bounded memory, the mapping from a log's activities to finwatch's words, putting the
events into time order across cases, deterministic event ids. Does not own: what the events mean (finwatch.domain), the
topics, the progress bar.
"""

from producers.eventlog.errors import LogError, MappingError
from producers.eventlog.importer import ImportSummary, Progress, import_log
from producers.eventlog.mapping import Mapping, load_mapping, packaged_mappings

__all__ = [
    "ImportSummary",
    "LogError",
    "Mapping",
    "MappingError",
    "Progress",
    "import_log",
    "load_mapping",
    "packaged_mappings",
]
