"""The book of the bills that meet under relation keys: what is known of them, and what is to be said.

Owns: which bills are compared, what stands of what was said, and that it is said in the right order. Does not own: the
weighing (``evidence``, ``splits``), where rows are kept (``Rows``), or how a finding is worded (``reports``).

A pair stands in the book of the key that decides on it, and only there (``blocks``). When a bill is corrected the pair
may go to another key, perhaps on another partition, and the two hear of the correction in any order. So a finding is of
its key: what is said of the pair there is another finding, and the one that was said here is taken back. Each has its
versions to itself: 1, 2, 3.

What stands in the end depends on the last version of each bill alone, and on nothing that arrives twice or in another
order: a group is judged by the policy of the time at which the last of its bills came to stand as it does, and of the
company of the bill that was entered last (``Choose``). Two exceptions: a block holds ``block_cap`` bills and lets the
one entered first go for another, and what is let go is not compared with what comes later. It is counted. And a bill
of which nothing was ever said is forgotten ``forget_after_days`` after it was last seen to change, in its source's
time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache, partial
from math import exp, log
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Struct, structs

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import similarity as like
from finwatch.domain.duplicates.blocks import (
    AMOUNT_BLOCK,
    BARE_BLOCK,
    GATHERED,
    NUMBER_BLOCK,
    ORDER_BLOCK,
    ORDERED_BLOCK,
    SHAPE_BLOCK,
    VENDOR,
    names,
    whole,
)
from finwatch.domain.duplicates.evidence import (
    ALONE,
    EXPENSE,
    QUARTER,
    REFUND,
    SAME_PAPER,
    Bill,
    Context,
    Verdict,
    compare,
)
from finwatch.domain.duplicates.splits import Group, gathered_splits, near, splits
from finwatch.domain.findings import DUPLICATES
from finwatch.domain.identity import group_finding_id
from finwatch.domain.policy import DuplicatesSection

R = TypeVar("R", bound=Struct)
OPEN, UPDATED, DISMISSED, RETRACTED = "open", "updated", "dismissed", "retracted"
_NO_PAIRS = (*GATHERED, ORDERED_BLOCK)
_NAMED = (NUMBER_BLOCK, ORDER_BLOCK)
RARE = 12
"""So many bills that a vendor writes in one way are rare; one more, and it is the vendor's own way."""
SMALL = 8
"""So many bills a block holds before it gets a row of its own."""
ROOM = 48
"""So many small blocks of one relation key share a row; further ones have rows of their own."""


class Rows(Protocol):
    """Rows by key, as a stage's view keeps them."""

    def get(self, key: str, type: type[R]) -> R | None:
        """The live row, or None."""
        ...

    def put(self, key: str, row: Struct, due: int | None = None) -> None:
        """Keep a row. ``due``: when it is to be looked at again, epoch microseconds in its source's time."""
        ...

    def delete(self, key: str) -> None:
        """Forget a row."""
        ...


class Dismissal(Struct, array_like=True, gc=False, frozen=True):
    """Somebody looked at a finding and said that it is none."""

    finding_id: str
    at: int
    by: str
    reason: str


class Fact(Struct, gc=False):
    """One version of a bill at a relation key. ``present`` False: it is not (or no longer) to be compared there.

    ``seen_at``: when the source showed it so, epoch microseconds; 0 when that is not known, and then it is never
    forgotten.
    """

    bill: Bill
    present: bool
    dismissals: tuple[Dismissal, ...] = ()
    seen_at: int = 0


class Entry(Struct, array_like=True):
    """A bill in the book, with the blocks it stands in and the ids of the groups that something was said of."""

    bill: Bill
    present: bool
    blocks: tuple[str, ...] = ()
    groups: list[str] = []
    dismissals: tuple[Dismissal, ...] = ()
    seen_at: int = 0


class Members(Struct, array_like=True):
    """A block: when each of its bills was entered, by document key, and the splits that were found in it.

    ``full``: a block of a way of writing that turned out to be the vendor's own. It holds nothing from then on.
    """

    entered: dict[str, int] = {}
    splits: list[str] = []
    full: bool = False


class Shelf(Struct, array_like=True):
    """The small blocks of one relation key, by name: most hold one bill, and a row for each would be most rows.

    A block stands here or in a row of its own (where earlier versions kept all), never in both.
    """

    blocks: dict[str, Members] = {}


class Shapes(Struct, array_like=True):
    """The blocks of a vendor's rare ways of writing references: what may be parts of another bill."""

    names: list[str] = []


class Notes(Struct, array_like=True):
    """The credit notes of a bill: when entered, amount, currency, by document key."""

    notes: dict[str, tuple[int, str, str | None]] = {}


class Standing(Struct, array_like=True):
    """What was said of a group of bills."""

    keys: Group
    version: int = 0
    status: str = ""
    rule: str = ""
    score: float = 0.0
    weak: bool = False
    reasons: tuple[str, ...] = ()
    opened: int = 0
    counted: str = ""
    vendor: str = ""
    evidence: tuple[str, ...] = ()


class Learned(Struct, array_like=True):
    """What people thought of findings about a vendor (of two vendors: with the same amount, as they meet under that):
    the rule by finding, of the dismissed ones and of the others.
    """

    dismissed: dict[str, str] = {}
    others: dict[str, str] = {}


class Judge(NamedTuple):
    """What a group is judged by: a policy's section, and the policy's label."""

    settings: DuplicatesSection
    policy: str = ""


Choose = Callable[[int, str | None], Judge]
"""The judge of a moment (epoch microseconds, event time) and a company."""


class Said(NamedTuple):
    """What has to be published of a group: its bills (the last entered first), how it stands, and who judged it."""

    finding_id: str
    version: int
    bills: tuple[Bill, ...]
    standing: Standing
    dismissal: Dismissal | None
    judge: Judge


class Book:
    """The rows of one source on one side (``blocks.VENDOR``, ``blocks.AMOUNT``) of one partition."""

    def __init__(
        self,
        rows: Rows,
        source: str,
        side: str,
        settings: DuplicatesSection,
        least: float | None = None,
        policy: str = "",
        choose: Choose | None = None,
    ) -> None:
        """``least``: the score from which on a group is said; the policy's ``report_at`` unless given.

        ``settings``: of the policy of the fact, whose label is ``policy``: by it a bill is put into blocks and kept.
        ``choose``: who judges a group, where there are several policies; the fact's unless given.
        """
        self._rows = rows
        self._side = side
        self._settings = settings
        self._least = least
        self._choose = choose
        self._judge = Judge(settings, policy)
        self._entry, self._block, self._shelf, self._shapes, self._note, self._group, self._learned = _prefixes(
            source, side
        )
        self._shelves: dict[str, Shelf] = {}
        self._moved: set[str] = set()
        self._said: dict[str, Said] = {}
        self.dropped = 0

    def take(self, fact: Fact) -> list[Said] | None:
        """Take one version of a bill. Returns what has to be published; None when the version was known.

        ``dropped`` grows with each bill that a full block let go.
        """
        self._said = {}
        bill, key = fact.bill, fact.bill.key
        entry = self._rows.get(self._entry + key, Entry)
        if entry is None:
            if not fact.present:
                self._keep(Entry(bill, False, seen_at=fact.seen_at))
                return []
            entry = Entry(bill, False)
            old = None
        else:
            if entry.bill.version >= bill.version:
                return None
            old = entry.bill if entry.present else None
        was = entry.blocks
        scope = self._scope(bill)
        before = scope if old is None else self._scope(old)
        now = names(self._side, bill, self._settings) if fact.present else ()
        # 1. What is known of the bill.
        entry.bill, entry.present = bill, fact.present
        entry.blocks, entry.dismissals, entry.seen_at = now, fact.dismissals, fact.seen_at
        self._keep(entry)
        # 2. Where it stands, and whom it meets there.
        pairs: set[Group] = set()
        if entry.groups:
            pairs.update(standing.keys for standing in self._groups(entry) if len(standing.keys) == 2)
        touched: dict[str, str] = {}
        for name in was:
            touched[name] = before
            if name not in now:
                self._leave(before, name, key)
        met = {}
        for name in now:
            touched[name] = scope
            met[name] = others = self._join(scope, name, bill, name not in was)
            if len(others) > 1 and not name.startswith(_NO_PAIRS):
                pairs.update([_pair(key, other) for other in others if other != key])
        # 3. What it says of others: the bill that it credits, and how often its amount is billed.
        for note, stands in ((old, False), (bill, fact.present)):
            if note is not None and note.reversed_key is not None:
                self._credit(note, stands, pairs, touched)
        for name in dict.fromkeys((*was, *now)) if was else now:
            if self._side != VENDOR or name.startswith(AMOUNT_BLOCK):
                pairs.update(self._around(touched[name], name, met.get(name), bill, old))
        # 4. What follows for each pair, and for the splits of each block.
        for pair in sorted(pairs):
            self._decide_pair(pair)
        if self._side == VENDOR:
            gathered = self._gathered(bill.vendor)
            if old is not None and old.vendor != bill.vendor:
                gathered = self._gathered(old.vendor) | gathered
            for name, where in touched.items():
                if name.startswith(_NAMED):
                    gathered[name] = where
            self._decide_splits(gathered)
        self._put_shelves()
        return list(self._said.values())

    # -- age --

    def forget(self, document_key: str, now: int) -> None:
        """A bill's time has come: it is let go, unless something was ever said of it or the policy keeps it longer.

        Nothing is published, and nobody is judged anew for it: what is over does not make the rest look otherwise.
        What something was said of stays, so that the finding can be taken back, and its versions go on from where they
        are.
        """
        entry = self._rows.get(self._entry + document_key, Entry)
        if entry is None:
            return
        due = self._due(entry)
        if due is None or due > now:
            self._keep(entry)
            return
        bill = entry.bill
        scope = self._scope(bill)
        for name in entry.blocks:
            self._leave(scope, name, document_key)
        self._put_shelves()
        self._rows.delete(self._note + self._scope(bill) + document_key)
        credited = bill.reversed_key
        if credited is not None and self._rows.get(self._entry + credited, Entry) is None:
            self._rows.delete(self._note + self._scope(bill) + credited)
        self._rows.delete(self._entry + document_key)

    def _keep(self, entry: Entry) -> None:
        """Keep a bill until it is due."""
        self._rows.put(self._entry + entry.bill.key, entry, self._due(entry))

    def _due(self, entry: Entry) -> int | None:
        days = self._settings.forget_after_days
        return entry.seen_at + days * DAY if days and entry.seen_at and not entry.groups else None

    # -- blocks --

    def _join(self, scope: str, name: str, bill: Bill, new: bool) -> dict[str, int]:
        key, entered = bill.key, bill.created_at
        members = self._find(scope, name)
        if members is None:
            members = Members()
        if name.startswith(SHAPE_BLOCK):
            return self._write(scope, name, members, bill) if new else members.entered
        if new:
            members.entered[key] = entered
            if len(members.entered) > self._settings.block_cap:
                del members.entered[min(members.entered, key=lambda one: (members.entered[one], one))]
                self.dropped += not name.startswith(BARE_BLOCK)  # so full, it splits nothing anyway
            self._put_block(scope, name, members)
        return members.entered if key in members.entered else {}

    def _write(self, scope: str, name: str, members: Members, bill: Bill) -> dict[str, int]:
        """Put a bill among those of its vendor that are written like it, as long as they are few."""
        if members.full:
            return {}
        members.entered[bill.key] = bill.created_at
        rare = len(members.entered) <= RARE
        if not rare:
            members.full, members.entered = True, {}
        self._put_block(scope, name, members)
        if len(members.entered) == 2 or not rare:
            row = f"{self._shapes}{bill.vendor}"
            shapes = self._rows.get(row, Shapes) or Shapes()
            if rare and name not in shapes.names:
                shapes.names = sorted([*shapes.names, name])
            elif not rare and name in shapes.names and not members.splits:
                shapes.names = [one for one in shapes.names if one != name]
            self._rows.put(row, shapes)
        return members.entered

    def _gathered(self, vendor: str | None) -> dict[str, str]:
        """The blocks in which a vendor's bills may together be another bill of it, and where they stand."""
        scope = f"{vendor}:"
        found = {f"{BARE_BLOCK}{vendor}": scope}
        shapes = self._rows.get(f"{self._shapes}{vendor}", Shapes)
        if shapes is not None:
            for name in shapes.names:
                found[name] = scope
        return found

    def _leave(self, scope: str, name: str, key: str) -> None:
        members = self._find(scope, name)
        if members is not None and members.entered.pop(key, None) is not None:
            self._put_block(scope, name, members)

    def _members(self, scope: str, name: str) -> Collection[str]:
        members = self._find(scope, name)
        return members.entered if members is not None else ()

    def _find(self, scope: str, name: str) -> Members | None:
        """A block, from among the small ones of its relation key or from a row of its own."""
        found = self._shelf_of(scope).blocks.get(name)
        return self._rows.get(self._block + name, Members) if found is None else found

    def _put_block(self, scope: str, name: str, members: Members) -> None:
        """Keep a block: where it stands, or among the small ones as long as there is room. An empty one is dropped."""
        shelf, row = self._shelf_of(scope), self._block + name
        empty = not (members.entered or members.splits or members.full)
        if name in shelf.blocks:
            self._moved.add(scope)
            if empty:
                del shelf.blocks[name]
            elif len(members.entered) > SMALL:
                del shelf.blocks[name]
                self._rows.put(row, members)
        elif empty:
            self._rows.delete(row)
        elif len(shelf.blocks) < ROOM and len(members.entered) <= SMALL and self._rows.get(row, Members) is None:
            self._moved.add(scope)
            shelf.blocks[name] = members
        else:
            self._rows.put(row, members)

    def _shelf_of(self, scope: str) -> Shelf:
        shelf = self._shelves.get(scope)
        if shelf is None:
            shelf = self._shelves[scope] = self._rows.get(self._shelf + scope, Shelf) or Shelf()
        return shelf

    def _put_shelves(self) -> None:
        """Write down what was done to small blocks: once a fact."""
        for scope in self._moved:
            shelf = self._shelves[scope]
            if shelf.blocks:
                self._rows.put(self._shelf + scope, shelf)
            else:
                self._rows.delete(self._shelf + scope)
        self._moved.clear()

    def _around(
        self, scope: str, name: str, met: dict[str, int] | None, bill: Bill, old: Bill | None
    ) -> Collection[Group]:
        """Pairs of others that this bill's coming, change or going may let stand otherwise."""
        among = self._members(scope, name) if met is None else met
        if len(among) < 2:
            return ()
        others = [key for key in among if key != bill.key]
        if len(others) < 2:
            return set()
        if old is not None and not _same_context(old, bill, met is not None):
            return {_pair(one, other) for n, one in enumerate(others) for other in others[n + 1 :]}
        if old is not None:
            return set()
        # It came: what stands may fall, but nothing rises.
        found: set[Group] = set()
        for key in others:
            entry = self._rows.get(self._entry + key, Entry)
            if entry is not None and entry.groups:
                found.update(standing.keys for standing in self._groups(entry) if len(standing.keys) == 2)
        return found

    def _credit(self, note: Bill, stands: bool, pairs: set[Group], touched: dict[str, str]) -> None:
        """Note that a bill is credited, or is so no more; whatever it is part of has to be decided again."""
        assert note.reversed_key is not None
        credited = note.reversed_key
        row = self._note + self._scope(note) + credited
        notes = self._rows.get(row, Notes) or Notes()
        if stands and note.posted and note.document_type == REFUND:
            notes.notes[note.key] = (note.created_at, str(note.amount), note.currency)
        elif notes.notes.pop(note.key, None) is None:
            return
        self._rows.put(row, notes)
        entry = self._rows.get(self._entry + credited, Entry)
        if entry is None:
            return
        pairs.update(standing.keys for standing in self._groups(entry) if len(standing.keys) == 2)
        scope = self._scope(entry.bill)
        for name in entry.blocks:
            pairs.update(_pair(credited, other) for other in self._members(scope, name) if other != credited)
            touched.setdefault(name, scope)

    def _credited_at(self, bill: Bill) -> int | None:
        """When the whole of a bill was credited; None when it was not."""
        notes = self._rows.get(self._note + self._scope(bill) + bill.key, Notes)
        if notes is None:
            return None
        return min(
            (
                entered
                for entered, amount, currency in notes.notes.values()
                if bill.amount is not None
                and currency == bill.currency
                and Decimal(amount) >= bill.amount * (1 - self._judge.settings.amount_tolerance)
            ),
            default=None,
        )

    def _scope(self, bill: Bill) -> str:
        """What the bills of one relation key have in common: rows of several keys in one partition stay apart."""
        return f"{bill.vendor}:" if self._side == VENDOR else f"{whole(bill.amount or Decimal())}:{bill.currency}:"

    def _place(self, bill: Bill) -> str:
        """The key that decides on bills like this one on this side."""
        return f"{self._side}:{self._scope(bill)}"

    # -- decisions --

    def _decide_pair(self, pair: Group) -> None:
        one = self._rows.get(self._entry + pair[0], Entry)
        other = self._rows.get(self._entry + pair[1], Entry)
        if one is None or other is None:
            return
        owner = one.present and other.present and (one.bill.vendor == other.bill.vendor) == (self._side == VENDOR)
        judging = self._judge
        self._judge = self._judge_of((one.bill, other.bill))
        verdict = self._verdict(one, other) if owner else None
        identity = "" if verdict is None else group_finding_id(DUPLICATES, pair, self._place(one.bill))
        # What was said of them here while they met under another key, or looked like one.
        for known in one.groups:
            if known != identity and known in other.groups:
                standing = self._rows.get(self._group + known, Standing)
                if standing is not None and standing.keys == pair:
                    self._say(known, pair, (one, other), None)
        if verdict is not None:
            self._say(identity, pair, (one, other), verdict)
        self._judge = judging

    def _judge_of(self, bills: Collection[Bill]) -> Judge:
        """Who judges bills: it follows from them alone, whichever of them came last."""
        if self._choose is None or not bills:
            return self._judge
        return self._choose(max([bill.entered_at for bill in bills]), max(bills, key=_age).company)

    def _is_enough(self, score: float) -> bool:
        return score >= (self._judge.settings.report_at if self._least is None else self._least)

    def _verdict(self, one: Entry, other: Entry) -> Verdict | None:
        a, b = one.bill, other.bill
        settings = self._judge.settings
        verdict = compare(a, b, settings)
        if verdict is None or not self._is_enough(verdict.score):
            return None
        shared = [name for name in one.blocks if name in other.blocks]
        if not shared:
            return None  # they met under what one of them was before
        context = self._context(a, b, shared)
        if context != ALONE:
            verdict = compare(a, b, settings, context)
            if verdict is None or not self._is_enough(verdict.score):
                return None
        return verdict

    def _context(self, a: Bill, b: Bill, shared: list[str]) -> Context:
        settings = self._judge.settings
        first, last = sorted((a, b), key=_age)
        credited = self._credited_at(first)
        settled = (
            self._credited_at(last) is not None
            or (credited is not None and credited > last.created_at)
            or last.reversed
            or (first.reversed and credited is None)
        )
        kind, _ = like.compare_references(
            a.reference, b.reference, settings.min_reference_length, settings.ignore_references
        )
        referenced = kind in SAME_PAPER
        dates: set[int] = set()
        lately: set[int] = set()
        between = False
        around = (
            names(VENDOR, a, settings)[-1] if self._side == VENDOR else next(iter(shared))
        )  # the bills of the vendor and the amount; of other vendors those of the block
        for key in self._members(self._scope(a), around):
            entry = self._rows.get(self._entry + key, Entry)
            if entry is None or key in (a.key, b.key):
                continue
            other = entry.bill
            if other.amount != a.amount or other.currency != a.currency:
                continue
            if other.document_type == REFUND:
                between = between or (other.posted and first.created_at <= other.created_at <= last.created_at)
            elif other.date is not None and (not referenced or other.reference in (a.reference, b.reference)):
                apart = min(abs(other.date - (one.date or 0)) for one in (a, b))
                if apart > settings.date_window_days:
                    dates.add(other.date)
                    if apart <= QUARTER:
                        lately.add(other.date)
        return Context(len(dates), between, credited is not None, settled, len(lately))

    def _decide_splits(self, touched: Mapping[str, str]) -> None:
        """``touched``: blocks by name, with where each stands."""
        before: set[str] = set()
        found: dict[str, tuple[Group, Verdict, Judge]] = {}
        judging = self._judge
        for name, scope in touched.items():
            members = self._find(scope, name)
            if members is None or (len(members.entered) < 2 and not members.splits):
                continue
            before.update(members.splits)
            now: dict[str, tuple[Group, Verdict, Judge]] = {}
            gathered = name.startswith(GATHERED)
            if len(members.entered) > (1 if gathered else 2):
                entries = [
                    entry
                    for key in members.entered
                    if (entry := self._rows.get(self._entry + key, Entry)) is not None and not entry.bill.reversed
                ]
                self._judge = self._judge_of([entry.bill for entry in entries])
                settings = self._judge.settings
                if gathered and not near([entry.bill for entry in entries], settings):
                    entries = []
                entries = [entry for entry in entries if self._credited_at(entry.bill) is None]
                by_number = {entry.bill.key: entry.blocks[0] for entry in entries}
                if not entries:
                    of_block = {}
                elif gathered:
                    of_vendor = partial(self._of_amount, entries[0].bill.vendor)
                    of_block = gathered_splits([entry.bill for entry in entries], of_vendor, settings)
                else:
                    of_block = splits([entry.bill for entry in entries], settings)
                for group, split in of_block.items():
                    numbers = {by_number.get(key, "") for key in group}
                    if name.startswith(ORDER_BLOCK) and len(numbers) == 1 and min(numbers).startswith(NUMBER_BLOCK):
                        continue  # the block of their number decides
                    if self._is_enough(split.score):
                        identity = group_finding_id(DUPLICATES, group, self._place(entries[0].bill))
                        now[identity] = group, split, self._judge
            found.update(now)
            if sorted(now) != members.splits:
                members.splits = sorted(now)
                self._put_block(scope, name, members)
        for identity in sorted(before | found.keys()):
            verdict: Verdict | None
            if identity in found:
                group, verdict, self._judge = found[identity]
            else:
                standing = self._rows.get(self._group + identity, Standing)
                group, verdict = standing.keys if standing is not None else (), None
            entries = [entry for key in group if (entry := self._rows.get(self._entry + key, Entry)) is not None]
            if verdict is None:
                self._judge = self._judge_of([entry.bill for entry in entries])
            self._say(identity, group, entries, verdict)
        self._judge = judging

    def _of_amount(self, vendor: str | None, cents: int, currency: str | None) -> list[Bill]:
        """A vendor's bills of an amount that nothing has credited, and its orders of that amount."""
        amount = Decimal(cents).scaleb(-2)
        scope = f"{vendor}:"
        place = f"{vendor}:{whole(amount)}:{currency}"
        billed, placed = self._members(scope, AMOUNT_BLOCK + place), self._members(scope, ORDERED_BLOCK + place)
        if not billed and not placed:
            return []
        entries = (self._rows.get(self._entry + key, Entry) for key in sorted(billed))
        found = [
            entry.bill
            for entry in entries
            if entry is not None
            and entry.bill.amount == amount
            and not entry.bill.reversed
            and entry.bill.document_type != EXPENSE
            and self._credited_at(entry.bill) is None
        ]
        for key in sorted(placed):
            order = self._rows.get(self._entry + key, Entry)
            if order is not None and order.bill.amount == amount:
                found.append(structs.replace(order.bill, posted=self._is_billed(order.bill)))
        return found

    def _is_billed(self, order: Bill) -> bool:
        """Whether bills that name an order come to its amount."""
        if order.amount is None or not order.order:
            return False
        billed = Decimal()
        for key in self._members(f"{order.vendor}:", f"{ORDER_BLOCK}{order.vendor}:{order.order}"):
            entry = self._rows.get(self._entry + key, Entry)
            if entry is not None and entry.bill.currency == order.currency and entry.bill.document_type != REFUND:
                billed += entry.bill.amount or 0
        return billed >= order.amount * (1 - self._judge.settings.amount_tolerance)

    # -- what is said --

    def _groups(self, entry: Entry) -> list[Standing]:
        found = (self._rows.get(self._group + identity, Standing) for identity in entry.groups)
        return [standing for standing in found if standing is not None]

    def _say(self, identity: str, group: Group, entries: Iterable[Entry], verdict: Verdict | None) -> None:
        """Bring what stands in line with the verdict, and publish it when it changed."""
        entries = tuple(entries)
        judge = self._judge
        standing = self._rows.get(self._group + identity, Standing)
        if standing is None:
            if verdict is None:
                return
            standing = Standing(group)
            for entry in entries:
                entry.groups.append(identity)
                self._keep(entry)
        stood = standing.status not in ("", RETRACTED)
        if verdict is None and not stood:
            return
        dismissal = next((d for entry in entries for d in entry.dismissals if d.finding_id == identity), None)
        before = _told(standing)
        if verdict is None:
            standing.status = RETRACTED
        else:
            vendor = "|".join(sorted({entry.bill.vendor or "" for entry in entries}))
            if self._side != VENDOR:
                vendor = self._scope(entries[0].bill) + vendor
            if standing.vendor != vendor:
                self._learn(identity, standing, forget=True)
                standing.vendor = vendor
            doubts = self._doubts(vendor, identity, verdict.rule)
            standing.opened = max(entry.bill.created_at for entry in entries)  # whenever they met: that differs
            standing.rule, standing.reasons = verdict.rule, verdict.reasons
            standing.score = _lowered(verdict.score, doubts, judge.settings.dismissed_points)
            standing.weak = standing.score < judge.settings.report_at <= verdict.score
            if doubts:
                standing.reasons += ("Findings like this about this vendor were dismissed before.",)
            if dismissal is not None:
                standing.status = DISMISSED
            elif not stood:
                standing.status = OPEN
            elif standing.status == DISMISSED:
                standing.status = UPDATED
        bills = tuple(sorted((entry.bill for entry in entries), key=_age, reverse=True))
        standing.evidence = tuple(bill.event_id for bill in bills)
        if _told(standing) != before:
            if standing.status == OPEN and stood and identity not in self._said:
                standing.status = UPDATED
            # One version a fact, however often it was decided again on the way: only the last is published.
            standing.version += identity not in self._said
            self._said[identity] = Said(identity, standing.version, bills, standing, dismissal, judge)
            self._rows.put(self._group + identity, standing)
        self._learn(identity, standing)

    def _doubts(self, vendor: str, identity: str, rule: str) -> int:
        """How many other findings of the rule about this vendor (these vendors) were dismissed."""
        learned = self._rows.get(self._learned + vendor, Learned)
        if learned is None:
            return 0
        return sum(other == rule and one != identity for one, other in learned.dismissed.items())

    def _learn(self, identity: str, standing: Standing, forget: bool = False) -> None:
        """Keep what people think of findings about a vendor; what it changes for the others is said again."""
        if not standing.vendor:
            return
        learned = self._rows.get(self._learned + standing.vendor, Learned) or Learned()
        was = learned.dismissed.get(identity)
        now = standing.rule if standing.status == DISMISSED and not forget else None
        other = standing.rule if standing.status in (OPEN, UPDATED) and not forget else None
        if was == now and learned.others.get(identity) == other:
            return
        for kept, rule in ((learned.dismissed, now), (learned.others, other)):
            if rule is None:
                kept.pop(identity, None)
            else:
                kept[identity] = rule
        self._rows.put(self._learned + standing.vendor, learned)
        if was == now:
            return
        for one in sorted(one for one, rule in (learned.others | learned.dismissed).items() if rule in (was, now)):
            if one != identity:
                self._decide_again(one)

    def _decide_again(self, identity: str) -> None:
        standing = self._rows.get(self._group + identity, Standing)
        if standing is None:
            return
        if len(standing.keys) == 2:
            self._decide_pair(standing.keys)
            return
        entry = self._rows.get(self._entry + standing.keys[0], Entry)
        if entry is not None:
            scope = self._scope(entry.bill)
            self._decide_splits(
                self._gathered(entry.bill.vendor) | {name: scope for name in entry.blocks if name.startswith(_NAMED)}
            )


@lru_cache(maxsize=256)
def _prefixes(source: str, side: str) -> tuple[str, str, str, str, str, str, str]:
    """What the keys of bills, blocks, small blocks, ways of writing, credit notes, groups and verdicts begin with."""
    return tuple(f"{kind}:{source}:{side}:" for kind in "mbxwcpf")  # type: ignore[return-value]


def _lowered(score: float, doubts: int, points: float) -> float:
    """A score with points taken off its logarithm of odds, three times at most."""
    if not doubts:
        return score
    odds = log(score / (1 - score)) if score < 1 else 12.0
    return round(1 / (1 + exp(-odds + points * min(doubts, 3))), 4)


def _told(standing: Standing) -> tuple[object, ...]:
    """What a finding shows of it: another version is due when it changes."""
    return (
        standing.status,
        standing.rule,
        standing.score,
        standing.weak,
        standing.reasons,
        standing.evidence,
    )


def _same_context(old: Bill, new: Bill, still: bool) -> bool:
    """Whether a bill means the same to the others of its block as before."""
    return still and (old.date, old.reference, old.document_type, old.amount, old.posted) == (
        new.date,
        new.reference,
        new.document_type,
        new.amount,
        new.posted,
    )


def _pair(one: str, other: str) -> Group:
    return (one, other) if one < other else (other, one)


def _age(bill: Bill) -> tuple[int, str]:
    return bill.created_at, bill.key
