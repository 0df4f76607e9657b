"""A policy compiled: what a fact means for approvals and clocks, in one dictionary lookup."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import msgspec

from finwatch.domain.calendar import Calendar, day_number
from finwatch.domain.policy.approvals import ANY_APPROVAL, REVIEWS, ApprovalRule, ApprovalSection, compile_approval
from finwatch.domain.policy.authority import NOBODY, compile_away, stand_in
from finwatch.domain.policy.calendars import build_calendar
from finwatch.domain.policy.clocks import ORDER, ClockRule, ClockSection, compile_clock
from finwatch.domain.policy.conditions import FactKind, check_conditions, matches
from finwatch.domain.policy.document import PolicyDocument, parse_document
from finwatch.domain.policy.exceptions import RELATED_TYPES, ExceptionSection, compile_exception
from finwatch.domain.policy.inheritance import inherit, written_at
from finwatch.domain.policy.section import Duration, PolicyError, Section, parse_duration


class Reaction(NamedTuple):
    """What one kind of fact means: the answer that is cached."""

    approval: ApprovalRule | None
    ending: str | None
    opens: bool
    asks: str | None
    clocks: tuple[tuple[ClockRule, tuple[str, ...]], ...]  # operations in the order they apply
    closes: bool | None  # the document: True closes it, False opens it, None neither
    inert: bool  # it means nothing


_DECISIONS = frozenset({"approved", "rejected"})
_NONE: frozenset[str] = frozenset()


class Policy:
    """A checked policy, ready to be asked. Holds nothing but caches besides what the file says.

    ``content``: the whole document as JSON with sorted keys, which ``parse_content`` reads back; ``content_hash``: its
    SHA-256, hex. A policy that was read back is the content it was read from, also where this version of finwatch would
    write more of it (a field that has a default since): its hash and label are those it was published with.
    """

    def __init__(self, document: PolicyDocument, content: bytes | None = None) -> None:
        self.document = document
        self.name = document.policy
        try:
            plain = msgspec.to_builtins(document, str_keys=True)
        except TypeError:
            raise PolicyError("$.companies", "a name that YAML takes for something else: put it in quotes") from None
        self.content = msgspec.json.encode(plain, order="sorted") if content is None else content
        self.content_hash = sha256(self.content).hexdigest()
        self.label = f"{document.policy}@{document.version}+{self.content_hash[:8]}"
        self.calendars = {
            name: build_calendar(name, section, f"$.calendars.{name}") for name, section in document.calendars.items()
        }
        for path, name in [
            ("$.calendar", document.calendar),
            *((f"$.company_calendars.{c}", n) for c, n in document.company_calendars.items()),
        ]:
            if name not in self.calendars:
                raise PolicyError(path, f"no calendar is named {name!r}")
        self._company = {c: self.calendars[n] for c, n in document.company_calendars.items()}
        self._default = self.calendars[document.calendar]
        self._away = compile_away(document.delegations, document.absences, self._default)
        self.approvals: dict[str, ApprovalRule] = {}
        for i, approval in enumerate(document.approvals):
            self._add_approval(approval, f"$.approvals[{i}]")
        self.clocks: dict[str, ClockRule] = {}
        for i, clock in enumerate(document.clocks):
            self._add_clock(clock, f"$.clocks[{i}]")
        self.graces: dict[str, Duration] = {}
        for name, exception in document.exceptions.items():
            grace = compile_exception(name, exception, f"$.exceptions.{name}")
            if grace is not None:
                self.graces[name] = grace
        for entity, conditions in document.closed.items():
            check_conditions(conditions, f"$.closed.{entity}")
        for name in document.__struct_fields__:  # the detectors' own sections
            section = getattr(document, name)
            if isinstance(section, Section):
                section.check(f"$.{name}")
        self.effective_from: int | None = None
        """Epoch microseconds; None for from the beginning."""
        if document.effective_from is not None:
            self.effective_from = self._default.end_of_day(day_number(document.effective_from) - 1)
        self._variants = {company: self._variant(company) for company in document.companies}
        self.handling = {**document.matching.handled(), **document.duties.handled()}
        self.receipt_grace = parse_duration(document.matching.receipt_grace)
        self.refund_grace = parse_duration(document.matching.refund_grace)
        self._service_levels = {
            name: parse_duration(section.service_level) for name, section in document.exceptions.items()
        }
        self._related_levels = {name: parse_duration(self.handling[name].service_level) for name in RELATED_TYPES}
        self._related: dict[str, frozenset[str]] = {
            entity: frozenset(
                name
                for name, of in RELATED_TYPES.items()
                if of == entity and self.handling[name].report and self.handling[name].exception
            )
            for entity in set(RELATED_TYPES.values())
        }
        self._types: dict[str, frozenset[str]] = {}
        self._reactions: dict[tuple[str | None, ...], Reaction] = {}
        self._exceptions: dict[str, dict[str, ExceptionSection]] = {}
        self._apart: dict[tuple[str, str | None, str | None], frozenset[str]] = {}

    def _variant(self, company: str) -> Policy:
        """What the group and a company say together. Its label is the file's."""
        path = f"$.companies.{company}"
        if company in self._company:
            raise PolicyError(f"{path}", "the company has a calendar in company_calendars too; name it here only")
        group = msgspec.to_builtins(self.document, str_keys=True)
        raw, written = inherit(group, self.document.companies[company], path)
        try:
            variant = Policy(parse_document(raw))
        except PolicyError as error:
            raise PolicyError(written_at(error.path, written), f"{error.message} (company {company})") from None
        variant.label, variant.content, variant.content_hash = self.label, self.content, self.content_hash
        return variant

    @property
    def has_companies(self) -> bool:
        """Whether any company has something of its own."""
        return bool(self._variants)

    def of_company(self, company_id: str | None) -> Policy:
        """The policy as it holds for a company: the group's, with what the company has of its own."""
        variants = self._variants
        return self if not variants or company_id is None else variants.get(company_id, self)

    def means_nothing(self, kind: tuple[str, str, str, str | None, str | None, str | None, str | None]) -> bool:
        """True for a kind of fact (the parts of ``FactKind``) that no rule looks at, in no company."""
        if not self.react(kind).inert:
            return False
        return not self._variants or all(variant.react(kind).inert for variant in self._variants.values())

    def calendar_of(self, company_id: str | None) -> Calendar:
        """The calendar of a company."""
        if company_id is None:
            return self._default
        variant = self._variants.get(company_id)
        return self._company.get(company_id, self._default) if variant is None else variant.calendar_of(None)

    def owner(self, owners: Sequence[str], at: int) -> str:
        """Who has to act at an instant: the first owner, or who stands in; of one who is absent, the next owner.

        ``owners``: roles, or persons' ids; the first, when all are absent and nobody stands in.
        """
        if self._away is NOBODY:
            return owners[0]
        return next((found for one in owners if (found := stand_in(one, self._away, at)) is not None), owners[0])

    def exceptions_of(self, entity: str) -> dict[str, ExceptionSection]:
        """The exception types that are looked for on an entity."""
        found = self._exceptions.get(entity)
        if found is None:
            found = {
                name: msgspec.structs.replace(section, min_amount=section.min_amount_of.get(entity, section.min_amount))
                for name, section in self.document.exceptions.items()
                if entity in section.entities
            }
            self._exceptions[entity] = found
        return found

    def related_of(self, entity: str) -> frozenset[str]:
        """The exception types of an entity that show when documents are put side by side."""
        return self._related.get(entity, _NONE)

    def types_of(self, entity: str) -> frozenset[str]:
        """All exception types that are looked for on an entity, wherever that is done."""
        found = self._types.get(entity)
        if found is None:
            found = self._types[entity] = frozenset(self.exceptions_of(entity)) | self.related_of(entity)
        return found

    def service_level(self, kind: str) -> Duration:
        """The time in which an exception of a type with a section of its own is to be resolved."""
        return self._service_levels[kind]

    def related_level(self, kind: str) -> Duration:
        """The same of a type that shows when documents are put side by side."""
        return self._related_levels[kind]

    def clocks_apart(self, entity: str, one: str | None, other: str | None) -> frozenset[str]:
        """Names of the entity's clocks that run on one document type and not on the other."""
        if one == other:
            return frozenset()
        found = self._apart.get((entity, one, other))
        if found is None:
            if len(self._apart) > 1000:
                self._apart.clear()
            found = self._apart[entity, one, other] = frozenset(
                rule.name
                for rule in self.clocks.values()
                if rule.section.entity == entity
                and (types := rule.section.document_types)
                and (one in types) != (other in types)
            )
        return found

    def react(self, kind: tuple[str, str, str, str | None, str | None, str | None, str | None]) -> Reaction:
        """What a fact of this kind (the parts of ``FactKind``, in order) means."""
        found = self._reactions.get(kind)
        if found is None:
            if len(self._reactions) > 20_000:  # free text in a role must not fill the memory
                self._reactions.clear()
            found = self._reactions[kind] = self._reaction(FactKind(*kind))
        return found

    def _reaction(self, kind: FactKind) -> Reaction:
        approval = self.approvals.get(kind.entity)
        ending: str | None = None
        asks: str | None = None
        opens = False
        if approval is not None:
            for name, conditions in approval.section.ends.items():
                if any(matches(c, kind) for c in conditions):
                    ending = name
                    break
            if ending is None and kind.decision in _DECISIONS:
                ending = kind.decision
            for opening in approval.section.opens:
                if matches(opening, kind):
                    opens, asks = True, opening.asks or approval.role
                    break
        elif kind.decision in _DECISIONS:
            approval = ANY_APPROVAL
            ending = kind.decision
        elif kind.entity in REVIEWS and kind.activity in ("submitted", "withdrawn"):
            approval, opens = ANY_APPROVAL, kind.activity == "submitted"
            ending = None if opens else "withdrawn"
        clocks = []
        for rule in self.clocks.values():
            if rule.section.entity == kind.entity:
                operations = tuple(name for name in ORDER if any(matches(c, kind) for c in getattr(rule.section, name)))
                if operations:
                    clocks.append((rule, operations))
        closes: bool | None = None
        conditions = self.document.closed.get(kind.entity, [])
        if any(matches(c, kind) for c in conditions):
            closes = True
        elif (kind.field != "" and kind.after is not None) or kind.activity in ("submitted", "reset", "created"):
            closes = False
        inert = ending is None and not opens and not clocks and closes is None
        return Reaction(approval, ending, opens, asks, tuple(clocks), closes, inert)

    def _add_approval(self, section: ApprovalSection, path: str) -> None:
        if section.entity in self.approvals:
            raise PolicyError(path, f"a second approval of {section.entity}; one an entity")
        self.approvals[section.entity] = compile_approval(section, self._away, path)

    def _add_clock(self, section: ClockSection, path: str) -> None:
        if section.name in self.clocks:
            raise PolicyError(f"{path}.name", f"a second clock named {section.name!r}")
        self.clocks[section.name] = compile_clock(section, path)


@lru_cache(maxsize=64)
def parse_content(content: bytes | str) -> Policy:
    """The policy of ``Policy.content``, with its hash and label. Raises PolicyError."""
    raw = content.encode() if isinstance(content, str) else content
    try:
        plain = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise PolicyError("$", f"the content is no JSON: {error}") from None
    return Policy(parse_document(plain), raw)


def parse_policy(raw: object) -> Policy:
    """Check the content of a policy file (plain dicts and lists) and compile it. Raises PolicyError."""
    return Policy(parse_document(raw))
