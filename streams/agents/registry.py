"""The detectors that run. A new one is a file beside this one and an entry here."""

from __future__ import annotations

from finwatch.domain.policy import PolicySet
from streams.agents.accounts import SharedAccounts
from streams.agents.counterparts import ExpenseFacts, OrderedFacts
from streams.agents.detector import DocumentDetector, MasterDetector, RelationDetector
from streams.agents.documents import DocumentsStage
from streams.agents.duplicates import DuplicateFacts, DuplicatePairs
from streams.agents.duties import (
    BankFacts,
    BillDuties,
    EntryDuties,
    PersonActivity,
    PersonFacts,
    VendorActivity,
    VendorFacts,
    VendorMaster,
)
from streams.agents.locks import BookedDays, LockFacts, PassFacts, PostedFacts
from streams.agents.orders import OrderChains, OrderFacts
from streams.agents.relations import RelationsStage
from streams.stage import Stage

DOCUMENT_DETECTORS: tuple[DocumentDetector, ...] = (
    DuplicateFacts(),
    ExpenseFacts(),
    OrderedFacts(),
    OrderFacts(),
    BillDuties(),
    EntryDuties(),
    PostedFacts(),
    VendorFacts(),
    PersonFacts(),
)
MASTER_DETECTORS: tuple[MasterDetector, ...] = (BankFacts(), VendorMaster(), LockFacts(), PassFacts())
RELATION_DETECTORS: tuple[RelationDetector, ...] = (
    DuplicatePairs(),
    OrderChains(),
    VendorActivity(),
    SharedAccounts(),
    PersonActivity(),
    BookedDays(),
)


def documents_stage(policies: PolicySet) -> DocumentsStage:
    """The documents stage with all detectors."""
    return DocumentsStage(policies, DOCUMENT_DETECTORS, MASTER_DETECTORS)


def relations_stage(policies: PolicySet) -> RelationsStage:
    """The relations stage with all detectors."""
    return RelationsStage(policies, RELATION_DETECTORS)


def stages(policies: PolicySet) -> dict[str, Stage]:
    """Every stage by name."""
    return {stage.name: stage for stage in (documents_stage(policies), relations_stage(policies))}
