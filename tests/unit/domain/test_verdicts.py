"""How verdicts become findings: versions go on, also for documents that were forgotten and are heard of again."""

from __future__ import annotations

from finwatch.domain.policy.handling import Handling
from finwatch.domain.rules import Rule, book
from finwatch.domain.verdicts import Said, Verdict, forget_said, settle

RULES = book(Rule("late", "duties", "Late", "", (), (), "It is late.", ""))
HANDLING = {"late": Handling("high", "treasury", "Look.")}


def verdict(reason: str = "It is late.") -> Verdict:
    return Verdict("late", ("odoo:bill:1",), ["odoo:bill:1"], "bill", "1", 10, 10, [reason], ["e1"])


def test_the_versions_of_what_was_forgotten_go_on() -> None:
    said: dict[str, Said] = {}
    forgotten: dict[str, Said] = {}

    def published(*verdicts: Verdict) -> list[tuple[int, str]]:
        changed = settle(said, verdicts, RULES, HANDLING, "odoo", "p", 20, forgotten=forgotten)
        return [(finding.version, finding.status) for _, finding in changed]

    assert published(verdict()) == [(1, "open")]
    assert published() == [(2, "retracted")]
    assert published(verdict()) == [(3, "open")]
    forget_said(said, forgotten, {"odoo:bill:1"})
    assert (said, published()) == ({}, []), "it stands as it is"
    assert published(verdict()) == [], "the same is not said twice"
    assert published(verdict("It is later.")) == [(4, "updated")]
    forget_said(said, forgotten, {"odoo:bill:1"})
    assert published(verdict()) == [(5, "updated")]
    assert published() == [(6, "retracted")]
