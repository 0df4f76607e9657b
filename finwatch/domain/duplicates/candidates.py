"""Where candidates meet, and who decides on them.

Each bill stands in several blocks, one for each of its ``keys``. Blocks may live on different partitions and share
nothing, so the two bills carry their keys with them: the first key that both have, in the fixed order of ``keys``, is
the pair's own block, and only that one decides. A pair has one identity whatever block found it.

A block holds at most ``block_cap`` bills and lets the ones entered longest ago go; what it let go is counted. Below the
cap the pairs do not depend on the order in which bills come.

Known limit: where several splits are possible (one amount more than once), which of them is told may depend on the
order in which the bills arrive. The stages do not run this module yet; that must be mended before they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from msgspec import Struct

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import similarity as like
from finwatch.domain.duplicates.evidence import SAME_PAPER, Bill, Context, Verdict, compare, has_reference
from finwatch.domain.duplicates.references import reference
from finwatch.domain.policy import DuplicatesSection

Group = tuple[str, ...]
"""Document keys of what may be one bill, in ascending order."""
_REFUND = "in_refund"
_TELLING = 6  # letters and digits from which a reference tells by itself, whoever the vendor is
_SPLIT_PARTS = 4
_SPLIT_BLOCKS = ("number:", "order:")
_SPLIT_CHOICE = 10  # bills of a block that are tried as parts of one split


def keys(bill: Bill, settings: DuplicatesSection) -> tuple[str, ...]:
    """The blocks of a bill, the most telling first. Empty when it can be nobody's duplicate."""
    if bill.vendor is None or bill.amount is None:
        return ()
    found = []
    if has_reference(bill, settings):
        assert bill.reference is not None
        found.append(f"number:{bill.vendor}:{like.number(bill.reference)}")
        forms = reference(like.unlabelled(bill.reference))
        if forms.distinct >= _TELLING:
            found.append(f"reference:{forms.block}")
    if bill.order:
        found.append(f"order:{bill.vendor}:{bill.order}")
    amount = f"{bill.amount.normalize():f}:{bill.currency}"
    found.append(f"vat:{bill.vat}:{amount}" if bill.vat else f"vendor:{bill.vendor}:{amount}")
    if bill.bank:
        found.append(f"bank:{bill.bank}:{amount}")
    if bill.name:
        found.append(f"name:{like.bare_name(bill.name)}:{amount}")
    return tuple(found)


def own_block(*all_keys: tuple[str, ...]) -> str | None:
    """The block that decides on bills with these keys: the first key of the first that all have; None without one."""
    first, *rest = all_keys
    return next((key for key in first if all(key in other for other in rest)), None)


class Member(Struct, array_like=True, gc=False):
    """A bill in a block, and all blocks that it stands in."""

    bill: Bill
    keys: tuple[str, ...]


class Block(Struct, array_like=True):
    """Members by document key; ``dropped`` counts what the cap let go."""

    key: str
    members: dict[str, Member] = {}
    verdicts: dict[Group, Verdict] = {}
    dropped: int = 0


def put(
    block: Block, bill: Bill, bill_keys: tuple[str, ...], settings: DuplicatesSection
) -> dict[Group, Verdict | None] | None:
    """Take one version of a bill. Returns what changed (None for a group that is no candidate any more); None when the
    version was known. A bill whose keys no longer name this block is to be withdrawn from it.
    """
    known = block.members.get(bill.key)
    if known is not None and known.bill.version >= bill.version:
        return None
    block.members[bill.key] = Member(bill, bill_keys)
    if known is not None:
        return _changes(block, verdicts(block, settings))
    if len(block.members) > settings.block_cap:
        del block.members[min(block.members, key=lambda key: (block.members[key].bill.created_at, key))]
        block.dropped += 1
        if bill.key not in block.members:
            return {}
    if len(block.members) == 1:
        return {}
    return _changes(block, verdicts(block, settings, bill.key))


def withdraw(block: Block, key: str, settings: DuplicatesSection) -> dict[Group, Verdict | None]:
    """Take a bill out: it was cancelled, reversed, deleted, or corrected so that it stands elsewhere."""
    block.members.pop(key, None)
    return _changes(block, verdicts(block, settings), key)


def _changes(block: Block, found: dict[Group, Verdict], withdrawn: str = "") -> dict[Group, Verdict | None]:
    changed: dict[Group, Verdict | None] = {}
    for group, before in block.verdicts.items():
        if group in found:
            if found[group] != before:
                changed[group] = found[group]
        elif withdrawn in group or all(key in block.members for key in group):
            # What the cap let go was not looked at again: it is not taken back for want of room.
            changed[group] = None
    for group, verdict in found.items():
        if group not in block.verdicts:
            changed[group] = verdict
    for group, now in changed.items():
        if now is None:
            del block.verdicts[group]
        else:
            block.verdicts[group] = now
    return changed


def verdicts(block: Block, settings: DuplicatesSection, added: str | None = None) -> dict[Group, Verdict]:
    """Every group of the block that is its own to decide and scores ``keep_at`` or more: a function of the members.

    ``added`` names the one member that came since the block's verdicts were made, which spares the rest: what comes
    besides only ever lowers a score.
    """
    members, found = block.members, {}
    pairs: Iterable[Group]
    if added is None:
        pairs = combinations(sorted(members), 2)
    else:
        pairs = [(added, key) if added < key else (key, added) for key in members if key != added]
        pairs += [group for group in block.verdicts if len(group) == 2 and group[0] in members and group[1] in members]
    for group in pairs:
        one, other = members[group[0]], members[group[1]]
        verdict = compare(one.bill, other.bill, settings)
        if verdict is None or verdict.score < settings.keep_at or own_block(one.keys, other.keys) != block.key:
            continue
        context = _context(one.bill, other.bill, members.values(), settings)
        if context.repeats or context.credit_between:
            verdict = compare(one.bill, other.bill, settings, context)
            if verdict is None or verdict.score < settings.keep_at:
                continue
        found[group] = verdict
    if block.key.startswith(_SPLIT_BLOCKS) and len(members) > 2:
        if added is None:
            for key in members:
                found.update(_splits(block, members[key], settings))
        else:
            found.update({group: verdict for group, verdict in block.verdicts.items() if len(group) > 2})
            found.update(_splits(block, members[added], settings))
    return found


def _context(a: Bill, b: Bill, members: Iterable[Member], settings: DuplicatesSection) -> Context:
    kind, _ = like.compare_references(a.reference, b.reference, settings.min_reference_length)
    referenced = kind in SAME_PAPER
    dates = set()
    credit = False
    first, last = sorted((a.created_at, b.created_at))
    for member in members:
        other = member.bill
        if other.key in (a.key, b.key) or other.amount != a.amount or other.currency != a.currency:
            continue
        if other.document_type == _REFUND:
            credit = credit or first <= other.created_at <= last
        elif other.date is not None and (not referenced or other.reference in (a.reference, b.reference)):
            apart = min(abs(other.date - (one.date or 0)) for one in (a, b))
            if apart > settings.date_window_days:
                dates.add(other.date)
    return Context(len(dates), credit)


def _splits(block: Block, member: Member, settings: DuplicatesSection) -> dict[Group, Verdict]:
    """Groups with this member: two to four bills, entered within days of one another, that are together an earlier one.

    Only the bills entered nearest to it are tried as parts (``_SPLIT_CHOICE`` of them).
    """
    found: dict[Group, Verdict] = {}
    one = member.bill
    others = [m for m in block.members.values() if m is not member and m.bill.document_type != _REFUND]
    wholes: dict[int, list[Member]] = {}
    for m in [*others, member]:
        wholes.setdefault(_cents(m.bill), []).append(m)
    # 1. It is a part: of which earlier bill?
    window = settings.split_window_days * DAY
    near = [m for m in others if abs(m.bill.created_at - one.created_at) <= window]
    near.sort(key=lambda m: (abs(m.bill.created_at - one.created_at), m.bill.key))
    for size in range(1, _SPLIT_PARTS):
        for chosen in combinations(near[:_SPLIT_CHOICE], size):
            total = sum(map(_cents, (m.bill for m in chosen)), _cents(one))
            for cents in range(total - size - 1, total + size + 2):
                for whole in wholes.get(cents, ()):
                    if whole is not member and whole not in chosen:
                        _try_split(block, whole, [member, *chosen], settings, found)
    # 2. It is the whole, and its parts came here before it did.
    later = [m for m in others if m.bill.created_at >= one.created_at and 0 < _cents(m.bill) < _cents(one)]
    later.sort(key=lambda m: (m.bill.created_at, m.bill.key))
    for size in range(2, _SPLIT_PARTS + 1):
        for chosen in combinations(later[:_SPLIT_CHOICE], size):
            if abs(sum(_cents(m.bill) for m in chosen) - _cents(one)) <= size:
                _try_split(block, member, list(chosen), settings, found)
    return found


def _try_split(
    block: Block, whole: Member, parts: list[Member], settings: DuplicatesSection, found: dict[Group, Verdict]
) -> None:
    created = [m.bill.created_at for m in parts]
    if (
        max(created) - min(created) > settings.split_window_days * DAY
        or min(created) < whole.bill.created_at
        or any(m.bill.currency != whole.bill.currency or not 0 < _cents(m.bill) < _cents(whole.bill) for m in parts)
        or own_block(whole.keys, *(m.keys for m in parts)) != block.key
    ):
        return
    verdict = _split_verdict(whole.bill, [m.bill for m in parts], settings)
    group = tuple(sorted([whole.bill.key, *(m.bill.key for m in parts)]))
    if verdict.score >= settings.keep_at and (group not in found or found[group] < verdict):
        found[group] = verdict


def _cents(bill: Bill) -> int:
    return int(bill.amount * 100) if bill.amount is not None else 0


def _split_verdict(whole: Bill, parts: list[Bill], settings: DuplicatesSection) -> Verdict:
    reasons = ["Same vendor.", "Together the later bills are the earlier one.", "They came within days of one another."]
    related = missing = 0
    for part in parts:
        kind, _ = like.compare_references(
            part.reference, whole.reference, settings.min_reference_length, settings.ignore_references
        )
        related += kind in (like.EXACT, like.NORMALISED, like.SUFFIXED, like.PREFIXED)
        missing += kind == like.MISSING
    score = 0.3
    if related == len(parts):
        score = 0.97
        reasons.append("Their references are the earlier one's, or that with something after it.")
    elif missing == len(parts):
        score = 0.75
        reasons.append("They have no reference of their own.")
    elif related:
        score = 0.7
        reasons.append("Some of their references are the earlier one's, or that with something after it.")
    else:
        reasons.append("Each has a reference of its own.")
    if whole.order and all(part.order == whole.order for part in parts):
        reasons.append("They name the same order.")
    return Verdict(score, "split", tuple(reasons))
