"""Odoo's tracking log as transitions: who changed which field of which document, when, from what, to what.

A mail.message is the head (document, person, time), each mail.tracking.value under it one field. Rules, all observed
on running servers:
- values of a selection are labels in the acting user's language, not keys; raw keys occur as well;
- a change of a bank account is written on the account and again, as a twin, on its partner;
- creation is not tracked: it comes from the record's own create_uid and create_date;
- account numbers stand in clear in the log: they are masked here.

Pure: reading is the reader's work.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from producers.odoo.accounts import mask_ibans, masked
from producers.odoo.errors import Malformed
from producers.odoo.mapping.expense_reports import STATES_19
from producers.odoo.values import Row, decimal, moment, parse_moment, ref, text

VALUE_MODEL = "mail.tracking.value"
MESSAGE_MODEL = "mail.message"
FIELD_MODEL = "ir.model.fields"
VALUE_FIELDS = (
    "field_id",
    "old_value_char",
    "new_value_char",
    "old_value_integer",
    "new_value_integer",
    "old_value_float",
    "new_value_float",
    "old_value_text",
    "new_value_text",
    "old_value_datetime",
    "new_value_datetime",
    "mail_message_id",
    "create_uid",
    "create_date",
)
MESSAGE_FIELDS = ("model", "res_id", "date", "create_date", "create_uid", "author_id")
FIELD_FIELDS = ("model", "name", "ttype", "field_description")

ACCOUNT_FIELDS = frozenset({"acc_number", "sanitized_acc_number", "account_number"})
# What no control needs is not passed on: that it changed is, its values are not.
PERSONAL_FIELDS = frozenset({"email", "phone", "mobile", "contact_address_inline", "acc_holder_name"})


@dataclass(frozen=True)
class TrackedField:
    """A field of ir.model.fields."""

    model: str
    name: str
    kind: str
    description: str


class Tracked(NamedTuple):
    """One change of one field, values as keys."""

    value_id: int
    message_id: str
    model: str
    record_id: int
    field: str
    label: str
    old: str | None
    new: str | None
    unknown_label: bool
    at: datetime
    actor: str | None


class Labels:
    """Keys of selection fields by label, over every language given. The first language wins where two disagree."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], dict[str, str]] = {}

    def add(self, model: str, field: str, selection: Iterable[Any]) -> None:
        """Take in a field's `[key, label]` pairs in one language. Raises Malformed."""
        keys = self._keys.setdefault((model, field), {})
        for pair in selection:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise Malformed(f"selection of {model}.{field} is not a list of pairs")
            key, label = str(pair[0]), str(pair[1])
            keys.setdefault(label, key)
        for key in list(keys.values()):
            keys.setdefault(key, key)  # raw keys occur in the log

    def knows(self, model: str, field: str) -> bool:
        """Whether the field's labels were taken in."""
        return (model, field) in self._keys

    def key(self, model: str, field: str, label: str | None) -> str | None:
        """Key of `label`; None for an empty or unknown one."""
        if label is None:
            return None
        return self._keys.get((model, field), {}).get(label)


def tracked_field(row: Row) -> TrackedField:
    """A field from its row in ir.model.fields. Raises Malformed."""
    model, name, kind = text(row, "model"), text(row, "name"), text(row, "ttype")
    if model is None or name is None or kind is None:
        raise Malformed("a row of ir.model.fields lacks model, name or type")
    return TrackedField(model, name, kind, text(row, "field_description") or name)


def is_twin(message_model: str, field_model: str) -> bool:
    """Whether a row is the copy, on the partner, of a bank account's change."""
    return message_model == "res.partner" and field_model == "res.partner.bank"


def _raw(row: Row, side: str, kind: str) -> str | None:
    """A value as text: selections as their label, references as id, times as ISO 8601."""
    if kind in ("selection", "char"):
        return text(row, f"{side}_value_char")
    if kind == "boolean":
        return "true" if row.get(f"{side}_value_integer") else "false"
    if kind == "integer":
        return str(row.get(f"{side}_value_integer") or 0)
    if kind in ("float", "monetary"):
        value = decimal(row.get(f"{side}_value_float") or 0.0, f"{side}_value_float")
        return format(value, "f")
    if kind in ("date", "datetime"):
        value_at = row.get(f"{side}_value_datetime")
        if not value_at:
            return None
        at = parse_moment(value_at, f"{side}_value_datetime")
        return at.date().isoformat() if kind == "date" else at.isoformat()
    if kind in ("many2one", "many2one_reference", "reference"):
        # Never the name: a bank account's is its number.
        value_id = row.get(f"{side}_value_integer")
        return str(value_id) if value_id else None
    if kind == "text":
        return text(row, f"{side}_value_text") or text(row, f"{side}_value_char")
    return text(row, f"{side}_value_char")


def decode(value: Row, message: Row, field: TrackedField, labels: Labels, children: frozenset[str]) -> Tracked | None:
    """The change that a tracking row tells; None for a twin and for a message without a record.

    `children` are the models whose changes Odoo writes on their parent's chatter (a bill's lines on the bill); their
    fields are named `lines.<field>`. Raises Malformed.
    """
    model, record_id = text(message, "model"), message.get("res_id")
    if model is None or not isinstance(record_id, int) or isinstance(record_id, bool) or record_id <= 0:
        return None
    if is_twin(model, field.model):
        return None
    old_raw, new_raw = _raw(value, "old", field.kind), _raw(value, "new", field.kind)
    label, unknown = field.description, False
    if field.kind == "selection":
        label = new_raw or field.description
        old = labels.key(field.model, field.name, old_raw)
        new = labels.key(field.model, field.name, new_raw)
        unknown = (old is None and old_raw is not None) or (new is None and new_raw is not None)
    elif field.name in ACCOUNT_FIELDS:
        old = masked(old_raw) if old_raw else None
        new = masked(new_raw) if new_raw else None
    elif field.name in PERSONAL_FIELDS:
        old = new = None
    elif field.kind in ("many2many", "one2many"):
        # Joined display names, which may hold account numbers: that it changed is what counts.
        old = new = None
    else:
        old, new = mask_ibans(old_raw), mask_ibans(new_raw)
    # `date` is the wall clock of the action, create_date the start of its transaction.
    at = moment(message, "date") or moment(message, "create_date") or moment(value, "create_date")
    if at is None:
        raise Malformed("a tracked message has no time")
    return Tracked(
        int(value["id"]),
        str(message["id"]),
        model,
        record_id,
        f"lines.{field.name}" if field.model != model and field.model in children else field.name,
        label,
        old,
        new,
        unknown,
        at,
        ref(value, "create_uid") or ref(message, "create_uid"),
    )


class Meaning(NamedTuple):
    """What a change of state means: canonical activity, and for approvals the step, role and decision."""

    activity: str
    step: str | None = None
    role: str | None = None
    decision: str | None = None


_ORDER_STEP = ("order_approval", "purchase_manager")
_EXPENSE_STEP = ("expense_approval", "manager")
CHANGED = Meaning("changed")


_OF_MOVES = {
    "state": {"posted": Meaning("posted"), "cancel": Meaning("cancelled"), "draft": Meaning("reset")},
    # in_payment (Enterprise): a payment is registered, the bank has not confirmed it.
    "payment_state": {"paid": Meaning("paid"), "in_payment": Meaning("payment_requested")},
}


def _move(field: str, old: str | None, new: str | None) -> Meaning:
    known = _OF_MOVES.get(field)
    return CHANGED if known is None else known.get(new or "", CHANGED)


def _purchase_order(field: str, old: str | None, new: str | None) -> Meaning:
    if field != "state":
        return CHANGED
    if new == "to approve":
        return Meaning("submitted", *_ORDER_STEP)
    if new == "purchase" and old != "done":  # from done: only unlocked again
        return Meaning("approved", *_ORDER_STEP, decision="approved")
    if new == "cancel":
        return Meaning("cancelled", *(_ORDER_STEP if old == "to approve" else ()))
    return Meaning("reset") if new == "draft" else CHANGED


def _expense_report(field: str, old: str | None, new: str | None) -> Meaning:
    if field == "payment_state":
        return Meaning("paid") if new == "paid" else CHANGED
    if field != "state":
        return CHANGED
    # 17 and 18: submit, approve, post, done, cancel; 19, of an expense by itself: the longer words.
    if new in ("submit", "submitted"):
        return Meaning("submitted", *_EXPENSE_STEP)
    if new in ("approve", "approved"):
        decided = old in ("draft", "submit", "submitted")
        return Meaning("approved", *_EXPENSE_STEP, decision="approved") if decided else CHANGED
    if new in ("cancel", "refused"):
        return Meaning("rejected", *_EXPENSE_STEP, decision="rejected")
    if new == "draft":
        return Meaning("withdrawn", *_EXPENSE_STEP) if old in ("submit", "submitted") else Meaning("reset")
    return {
        "post": Meaning("posted"),
        "posted": Meaning("posted"),
        "in_payment": Meaning("payment_requested"),
        "done": Meaning("paid"),
        "paid": Meaning("paid"),
    }.get(new or "", CHANGED)


_OF_PAYMENTS = {
    "in_process": Meaning("posted"),
    "posted": Meaning("posted"),
    "paid": Meaning("paid"),
    "canceled": Meaning("cancelled"),
    "cancel": Meaning("cancelled"),
    "rejected": Meaning("rejected", decision="rejected"),
    "draft": Meaning("reset"),
}


def _payment(field: str, old: str | None, new: str | None) -> Meaning:
    return _OF_PAYMENTS.get(new or "", CHANGED) if field == "state" else CHANGED


_OF_RECEIPTS = {"done": Meaning("received"), "cancel": Meaning("cancelled")}


def _receipt(field: str, old: str | None, new: str | None) -> Meaning:
    return _OF_RECEIPTS.get(new or "", CHANGED) if field == "state" else CHANGED


_MEANINGS = {
    "bill": _move,
    "invoice": _move,
    "entry": _move,
    "purchase_order": _purchase_order,
    "expense_report": _expense_report,
    "payment": _payment,
    "receipt": _receipt,
}


def meaning(entity: str, change: Tracked) -> Meaning:
    """What a change means for an entity's document."""
    of_entity = _MEANINGS.get(entity)
    return CHANGED if of_entity is None else of_entity(change.field, change.old, change.new)


def told_value(change: Tracked, value: str | None) -> str | None:
    """A value in the words of the document's state."""
    if change.model == "hr.expense" and change.field == "state":
        return STATES_19.get(value or "", value)
    return value


def transition_body(change: Tracked, entity: str, responsible: str | None) -> Mapping[str, Any]:
    """Body of a Transition record. `responsible` is named only for a submission: who is asked next."""
    found = meaning(entity, change)
    return {
        "activity": found.activity,
        "label": change.label,
        "field": change.field,
        "old_value": told_value(change, change.old),
        "new_value": told_value(change, change.new),
        "step": found.step,
        "role": found.role,
        "decision": found.decision,
        "responsible": responsible if found.activity == "submitted" else None,
        "amount": None,
        "currency": None,
        "review": None,
    }
