"""Exceptions that show when documents are put side by side: a record beside the finding, counted in backlog and rates.

One finding is one exception: it opens, is resolved and taken back with it, and tells nothing besides. Which rules these
are says the closed list (``RELATED_TYPES``). They are counted in the relations stage under the day on which the
document entered; the documents stage counts the documents that entered and that are open: parts of a rate are added.
"""

from __future__ import annotations

from finwatch.domain.calendar import DAY
from finwatch.domain.findings import related_exception
from finwatch.domain.policy import RELATED_TYPES, Policy
from finwatch.domain.records import Finding
from finwatch.domain.verdicts import LIVE, Said
from finwatch.runtime.topics import EXCEPTION
from streams.agents import tally, windows
from streams.agents.tally import Tally
from streams.stage import View


def is_exception(said: Said, finding: Finding, policy: Policy) -> bool:
    """Whether a finding's rule is on the closed list, and the policy counts it, or did when it was found."""
    entity = RELATED_TYPES.get(finding.rule)
    return entity is not None and (finding.rule in policy.related_of(entity) or said.in_cohort)


def publish_exception(view: View, source: str, counts: Tally, said: Said, finding: Finding, policy: Policy) -> None:
    """Emit the exception of a finding, and bring the counts in line. The caller puts ``counts``."""
    kind, entity, severity = finding.rule, finding.entity, finding.severity
    record = related_exception(finding, policy.related_level(kind), policy.calendar_of(finding.company_id))
    view.emit(EXCEPTION, record.document_key, record)
    company = tally.word(finding.company_id)
    due = "" if record.due_at is None else record.due_at
    now = f"{entity}|{company}|{kind}|{severity}|{due}" if finding.status in LIVE else ""
    if now != said.excepted:
        for counted, number in ((said.excepted, -1), (now, 1)):
            if counted:
                # Rows from before had no due time behind the severity.
                parts = counted.split("|")
                tally.count_exception(view, source, counts, "|".join(parts[:4]), parts[4:], number)
        said.excepted = now
    in_cohort = finding.status != "retracted"
    if said.in_cohort != in_cohort:
        said.in_cohort = in_cohort
        day, number = said.entered // DAY, 1 if in_cohort else -1
        windows.count_apart(view, source, counts, day, entity, kind, policy, finding.updated_at, number)
