"""The one list of topics. `finwatch topics apply` makes a broker agree with it; nothing else creates topics."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

MAX_RECORD_BYTES = (
    4 * 1024 * 1024
)  # a 2 MB record must reach its dead letter, so topics carry more than Kafka's default of 1 MB
# Order matters: the capture remembers an entity by its place. New ones go to the end.
DOCUMENT_ENTITIES = (
    "bill",
    "invoice",
    "entry",
    "purchase_order",
    "receipt",
    "payment",
    "expense_report",
    "vendor",
    "bank_account",
    "bank_line",
)
"""Entities with columns of their own in the store."""
KEPT_ENTITIES = (
    "currency_rate",
    "unit",
    "product",
    "company",
    "lock_exception",
    "journal",
    "ledger_account",
    "account_reconciliation",
    "sale_order",
    "delivery",
    "project",
    "task",
    "timesheet",
    "lead",
    "user",
    "group",
    "scheduled_action",
    "automation_rule",
    "server_action",
    "queue_job",
    "tier_review",
    "approval_request",
    "ticket",
    "attachment_document",
    "planning_slot",
    "custom_record",
)
"""Entities that are stored as JSON, with a view each. No stage reads their topics, unless they are watched too."""
ENTITIES = DOCUMENT_ENTITIES + KEPT_ENTITIES
WATCHED_ENTITIES = (*DOCUMENT_ENTITIES, "approval_request", "company", "lock_exception")
"""Entities with documents under control: their topics are the input of the documents stage."""
CUSTOM = "custom_record"
"""Entity of records of models that a configuration adds, whatever their model; a record's id is `<model>/<id>`."""


def entity_topic(entity: str) -> str:
    """Topic that carries the changes and decisions of an entity's documents."""
    return f"finance.{entity}.v1"


ENTITY_TOPICS = tuple(entity_topic(entity) for entity in ENTITIES)
WATCHED_TOPICS = tuple(entity_topic(entity) for entity in WATCHED_ENTITIES)
RELATION = "finance.relation.v1"
STEP = "finance.step.v1"
CLOCK = "finance.clock.v1"
EXCEPTION = "finance.exception.v1"
FINDING = "finance.finding.v1"
RATE = "finance.rate.v1"
KPI = "finance.kpi.v1"
DEAD_LETTER = "finance.dlq.v1"
DOCUMENTS_STATE = "finwatch.documents.state"
RELATIONS_STATE = "finwatch.relations.state"
CAPTURE_STATE = "finwatch.capture.state"
HINTS = "finwatch.hints"
SIGNALS = "finwatch.signals"
POLICY = "finance.policy.v1"
STAGE_INPUTS = (*WATCHED_TOPICS, RELATION)
"""Input topics of the stages: a policy change stands on every partition of them."""


@dataclass(frozen=True)
class TopicSpec:
    """One topic: its records (Avro full names, empty for internal formats), clean-up and time kept."""

    name: str
    records: tuple[str, ...]
    cleanup: Literal["delete", "compact"]
    retention_days: int | None
    meaning: str

    def config(self) -> dict[str, str]:
        """Topic configuration as the broker takes it."""
        config = {"cleanup.policy": self.cleanup, "max.message.bytes": str(MAX_RECORD_BYTES)}
        if self.cleanup == "delete":
            days = self.retention_days
            config["retention.ms"] = "-1" if days is None else str(days * 86_400_000)
        else:
            # A row of an uncommitted checkpoint must not push out the committed one before it is written again.
            config["min.compaction.lag.ms"] = "3600000"
        return config


_EVENT_RECORD = MappingProxyType(
    {
        "bill": "Bill",
        "invoice": "Invoice",
        "entry": "Entry",
        "purchase_order": "PurchaseOrder",
        "receipt": "Receipt",
        "payment": "Payment",
        "expense_report": "ExpenseReport",
        "vendor": "Vendor",
        "bank_account": "BankAccount",
        "bank_line": "BankLine",
        "currency_rate": "CurrencyRate",
        "unit": "Unit",
        "product": "Product",
        "company": "Company",
        "lock_exception": "LockException",
        "journal": "Journal",
        "ledger_account": "LedgerAccount",
        "account_reconciliation": "AccountReconciliation",
        "sale_order": "SaleOrder",
        "delivery": "Delivery",
        "project": "Project",
        "task": "Task",
        "timesheet": "Timesheet",
        "lead": "Lead",
        "user": "User",
        "group": "Group",
        "scheduled_action": "ScheduledAction",
        "automation_rule": "AutomationRule",
        "server_action": "ServerAction",
        "queue_job": "QueueJob",
        "tier_review": "TierReview",
        "approval_request": "ApprovalRequest",
        "ticket": "Ticket",
        "attachment_document": "AttachmentDocument",
        "planning_slot": "PlanningSlot",
        "custom_record": "CustomRecord",
    }
)


def entity_record(entity: str) -> str:
    """Avro full name of an entity's state record. Raises KeyError for an unknown entity."""
    return f"finwatch.{_EVENT_RECORD[entity]}"


def _output(name: str, record: str, meaning: str) -> TopicSpec:
    return TopicSpec(name, (f"finwatch.{record}",), "delete", 90, meaning)


TOPICS: tuple[TopicSpec, ...] = (
    *(
        TopicSpec(
            entity_topic(entity),
            (
                entity_record(entity),
                "finwatch.Transition",
                "finwatch.Feedback",
                "finwatch.Heartbeat",
                "finwatch.PolicyChange",
            ),
            "delete",
            None,
            f"Changes and decisions of {entity.replace('_', ' ')} documents, keyed by document.",
        )
        for entity in ENTITIES
    ),
    TopicSpec(
        RELATION,
        ("finwatch.Relation", "finwatch.PolicyChange"),
        "delete",
        90,
        "Facts about documents, keyed by what they relate to.",
    ),
    _output(STEP, "Step", "Approval steps, keyed by document."),
    _output(CLOCK, "Clock", "Service-level clocks, keyed by document."),
    _output(EXCEPTION, "Exception", "Exceptions, keyed by document."),
    _output(FINDING, "Finding", "Findings, keyed by finding."),
    _output(RATE, "Rate", "Parts of exception rates by window, keyed by rate and part."),
    TopicSpec(KPI, ("finwatch.Kpi",), "compact", None, "Parts of KPIs, keyed by KPI, labels and partition."),
    TopicSpec(POLICY, ("finwatch.PolicyChange",), "compact", None, "The last published version of each policy."),
    _output(DEAD_LETTER, "DeadLetter", "Records that could not be processed, with their untouched bytes."),
    TopicSpec(DOCUMENTS_STATE, (), "compact", None, "State of the documents stage as branches of checkpoints."),
    TopicSpec(RELATIONS_STATE, (), "compact", None, "State of the relations stage as branches of checkpoints."),
    TopicSpec(CAPTURE_STATE, (), "compact", None, "Positions of the capture, by source and model."),
    TopicSpec(HINTS, (), "delete", 1, "Records of a source that may have changed: hints to poll, never truth."),
    TopicSpec(SIGNALS, (), "delete", 7, "What is asked of a producer: records to read again, by source."),
)
STORED_TOPICS = tuple(spec.name for spec in TOPICS if spec.records)


def state_topic(stage: str) -> str:
    """State topic of a stage."""
    return f"finwatch.{stage}.state"
