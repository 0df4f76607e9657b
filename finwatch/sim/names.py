"""Display names, as a many2one shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finwatch.sim.store import Database

_DRAFTS = {
    "entry": "Draft Entry",
    "in_invoice": "Draft Bill",
    "in_refund": "Draft Vendor Credit Note",
    "in_receipt": "Draft Purchase Receipt",
    "out_invoice": "Draft Invoice",
    "out_refund": "Draft Credit Note",
    "out_receipt": "Draft Sales Receipt",
}


def display_name(db: Database, model: str, row: dict[str, Any]) -> str | bool:
    """The display name of a row; falls back to `model,id` as Odoo does."""
    if model == "account.move":
        return _move(row)
    if model == "account.move.line":
        return _move_line(db, row)
    if model == "account.account":
        return f"{row.get('code') or row.get('code_store') or ''} {row.get('name') or ''}".strip()
    if model in ("account.bank.statement.line", "account.payment") and not row.get("name"):
        move = db.tables["account.move"].rows.get(row.get("move_id") or 0)
        return (move and move.get("name")) or "Draft Payment"
    if model == "res.partner":
        return row.get("complete_name") or row.get("name") or False
    if model == "res.partner.bank":
        return row.get("acc_number") or False
    if model == "ir.model.fields":
        title = db.tables["ir.model"].rows.get(row.get("model_id") or 0, {}).get("name")
        return f"{row.get('field_description')} ({title or row.get('model')})"
    if model == "mail.message":
        return db.display_name(row["model"], row["res_id"]) if row.get("model") and row.get("res_id") else False
    return row.get("name") or row.get("x_name") or f"{model},{row['id']}"


def _move(row: dict[str, Any]) -> str:
    name = row.get("name")
    has_name = bool(name) and name != "/"
    text = str(name) if has_name else ""
    if row.get("state") == "draft":
        text = f"{_DRAFTS.get(str(row.get('move_type')), 'Draft Entry')} {text}".strip()
        if not has_name and row.get("move_type") == "entry":
            text += f" (* {row['id']})"
    if row.get("ref"):
        text += f" ({str(row['ref'])[:50]})"
    return text


def _move_line(db: Database, row: dict[str, Any]) -> str:
    move = db.tables["account.move"].rows.get(row.get("move_id") or 0)
    parts = [_move(move) if move else str(row.get("move_name") or "")]
    if row.get("name") and row["name"] != "/":
        parts.append(str(row["name"]))
    return " ".join(parts)
