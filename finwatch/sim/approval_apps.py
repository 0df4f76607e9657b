"""Two apps that a database may have besides: OCA's tier validation (tier.review) and Approvals (approval.request).

`install` adds their models; the functions do what their buttons do, as the modules' own code says: a tier is pending at
once, or when its turn comes; to begin anew deletes the reviews; a request waits for its approvers and is approved when
all have approved, refused when one has refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from finwatch.sim.fields import Catalogue, Field, Model, make_field, stub_fields
from finwatch.sim.store import Database, Row, Table, Transaction

_STATUS = [["waiting", "Waiting"], ["pending", "Pending"], ["rejected", "Rejected"], ["approved", "Approved"]]
_REQUEST = [["new", "To Submit"], ["pending", "Submitted"], ["approved", "Approved"], ["refused", "Refused"]]
_REQUEST += [["cancel", "Canceled"]]
_APPROVER = [["new", "New"], ["pending", "To Approve"], ["waiting", "Waiting"], ["approved", "Approved"]]
_APPROVER += [["refused", "Refused"], ["cancel", "Cancel"]]
_CHOICES = {
    ("tier.review", "status"): _STATUS,
    ("tier.review", "review_type"): [["individual", "Specific user"], ["group", "Any user in a specific group"]],
    ("approval.request", "request_status"): _REQUEST,
    ("approval.approver", "status"): _APPROVER,
}
# model -> title, and field -> (type, relation)
_MODELS: dict[str, tuple[str, dict[str, tuple[str, str | None]]]] = {
    "tier.review": (
        "Tier Review",
        {
            "name": ("char", None),
            "status": ("selection", None),
            "model": ("char", None),
            "res_id": ("many2one_reference", None),
            "definition_id": ("many2one", "tier.definition"),
            "review_type": ("selection", None),
            "reviewer_id": ("many2one", "res.users"),
            "reviewer_group_id": ("many2one", "res.groups"),
            "reviewer_ids": ("many2many", "res.users"),
            "requested_by": ("many2one", "res.users"),
            "done_by": ("many2one", "res.users"),
            "reviewed_date": ("datetime", None),
            "sequence": ("integer", None),
            "approve_sequence": ("boolean", None),
            "company_id": ("many2one", "res.company"),
        },
    ),
    "tier.definition": ("Tier Definition", {}),
    "approval.category": ("Approval Category", {}),
    "approval.request": (
        "Approval Request",
        {
            "name": ("char", None),
            "request_status": ("selection", None),
            "category_id": ("many2one", "approval.category"),
            "request_owner_id": ("many2one", "res.users"),
            "reference": ("char", None),
            "partner_id": ("many2one", "res.partner"),
            "amount": ("float", None),
            "quantity": ("float", None),
            "date_confirmed": ("datetime", None),
            "date_start": ("datetime", None),
            "date_end": ("datetime", None),
            "company_id": ("many2one", "res.company"),
        },
    ),
    "approval.approver": (
        "Approver",
        {
            "request_id": ("many2one", "approval.request"),
            "user_id": ("many2one", "res.users"),
            "status": ("selection", None),
            "required": ("boolean", None),
            "sequence": ("integer", None),
        },
    ),
}


class Tier(NamedTuple):
    """A tier's definition. `people` are asked: one in person, or the members of a group. `in_turn`: tier after tier."""

    name: str
    people: Sequence[int]
    group: int | None = None
    in_turn: bool = False


def install(db: Database) -> None:
    """Add the models of both apps, and let every account read them that reads orders."""
    models = {model: _model(model, title, fields) for model, (title, fields) in _MODELS.items()}
    catalogue: Catalogue = db.catalogue
    db.catalogue = replace(catalogue, models=catalogue.models | models)
    db.tables |= {name: Table(model) for name, model in models.items()}
    for uid, user in db.users.items():
        if user.readable is not None and "purchase.order" in user.readable:
            db.users[uid] = replace(user, readable=user.readable | set(models))


def request_tiers(tx: Transaction, model: str, record: int, tiers: Sequence[Tier], company: int = 1) -> list[int]:
    """`request_validation`: a review of each tier; ids in their order."""
    made = []
    for number, tier in enumerate(tiers, start=1):
        values: Row = {
            "name": tier.name,
            "status": "waiting" if tier.in_turn and number > 1 else "pending",
            "model": model,
            "res_id": record,
            "review_type": "individual" if tier.group is None else "group",
            "reviewer_id": tier.people[0] if tier.group is None else False,
            "reviewer_group_id": tier.group or False,
            "reviewer_ids": list(tier.people),
            "requested_by": tx.uid,
            "sequence": number,
            "approve_sequence": tier.in_turn,
            "company_id": company,
        }
        made.append(tx.create("tier.review", values))
    return made


def decide_tier(tx: Transaction, review: int, *, approve: bool) -> None:
    """`validate_tier` and `reject_tier`, by the transaction's user; the next tier in turn becomes pending."""
    row = tx.row("tier.review", review)
    status = "approved" if approve else "rejected"
    tx.write("tier.review", review, {"status": status, "done_by": tx.uid, "reviewed_date": tx.stamp[:19]})
    waiting = [one for one in _reviews(tx, row["model"], row["res_id"]) if one["status"] == "waiting"]
    if approve and waiting:
        tx.write("tier.review", min(waiting, key=lambda one: int(one["sequence"]))["id"], {"status": "pending"})


def restart_tiers(tx: Transaction, model: str, record: int) -> None:
    """`restart_validation`: the reviews are gone."""
    tx.unlink("tier.review", [one["id"] for one in _reviews(tx, model, record)])


def create_request(
    tx: Transaction, name: str, amount: float, approvers: Sequence[int], company: int = 1
) -> tuple[int, list[int]]:
    """A request of the transaction's user, not submitted; its id and its approvers' rows."""
    values = {"name": name, "request_status": "new", "request_owner_id": tx.uid, "amount": amount}
    request = tx.create("approval.request", {**values, "company_id": company})
    rows = [
        tx.create(
            "approval.approver",
            {"request_id": request, "user_id": one, "status": "new", "required": True, "sequence": number},
        )
        for number, one in enumerate(approvers, start=1)
    ]
    return request, rows


def submit_request(tx: Transaction, request: int) -> None:
    """`action_confirm`."""
    tx.write("approval.request", request, {"request_status": "pending", "date_confirmed": tx.stamp[:19]})
    tx.write("approval.approver", [one["id"] for one in _approvers(tx, request)], {"status": "pending"})


def answer_request(tx: Transaction, approver: int, *, approve: bool) -> None:
    """`action_approve` and `action_refuse`, by the transaction's user. The request's status follows by itself."""
    tx.write("approval.approver", approver, {"status": "approved" if approve else "refused"})
    request = int(tx.row("approval.approver", approver)["request_id"])
    states = {one["status"] for one in _approvers(tx, request)}
    status = "refused" if "refused" in states else "approved" if states == {"approved"} else "pending"
    tx.write("approval.request", request, {"request_status": status})


def _reviews(tx: Transaction, model: str, record: int) -> list[Row]:
    return _of(tx, "tier.review", model=model, res_id=record)


def _approvers(tx: Transaction, request: int) -> list[Row]:
    return _of(tx, "approval.approver", request_id=request)


def _of(tx: Transaction, table: str, **wanted: Any) -> list[Row]:
    with tx.db.lock:
        ids = sorted(tx.db.tables[table].rows)
    rows = [row for one in ids if (row := tx.get(table, one)) is not None]
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def _model(name: str, title: str, fields: dict[str, tuple[str, str | None]]) -> Model:
    found: dict[str, Field] = stub_fields()
    for field, (kind, relation) in fields.items():
        told: dict[str, Any] = {"readonly": False, "required": False, "store": True, "type": kind, "string": field}
        if relation is not None:
            told["relation"] = relation
        if kind == "selection":
            told["selection"] = _CHOICES[name, field]
        found[field] = make_field(field, told, name)
    found["display_name"] = make_field("display_name", {"type": "char", "store": False, "string": "Display Name"}, name)
    return Model(name, title, found, "id", stub=False)
