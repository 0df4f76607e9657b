"""Users of the try-out Odoo, run by `odoo shell` (prepare.sh), which defines `env` as the superuser's environment."""
# ruff: noqa: F821

from pathlib import Path

# What finwatch captures. One group reads these and writes nothing: the least that works.
MODELS = [
    *("account.move", "account.move.line", "account.payment", "account.partial.reconcile"),
    *("account.bank.statement.line", "account.journal", "account.account", "account.lock_exception"),
    *("purchase.order", "purchase.order.line", "stock.picking", "stock.picking.type", "stock.move"),
    *("sale.order", "sale.order.line", "crm.lead", "product.product", "uom.uom"),
    *("hr.expense", "hr.expense.sheet", "project.project", "project.task", "account.analytic.line"),
    *("planning.slot", "helpdesk.ticket", "approval.request", "approval.approver", "tier.review"),
    *("documents.document", "ir.cron", "base.automation", "ir.actions.server", "queue.job"),
    *("res.partner", "res.partner.bank", "res.company", "res.currency", "res.currency.rate"),
    *("res.users", "res.groups", "res.lang", "ir.model.data"),
    *("mail.message", "mail.tracking.value", "ir.model", "ir.model.fields"),
]
READ_ONLY = {"perm_read": True, "perm_write": False, "perm_create": False, "perm_unlink": False}


def secret(name):
    """Content of a secret file; ends the run when it is empty, so that no user gets an empty password."""
    value = Path("/run/secrets", name).read_text().strip()
    if not value:
        raise SystemExit(f"secret {name} is empty")
    return value


def found_or_made(model, domain, **values):
    """The record that `domain` finds, else a new one: the script may run again."""
    return env[model].search(domain, limit=1) or env[model].create(values)


env.ref("base.user_admin").password = secret("odoo_admin_password")

group = found_or_made(
    "res.groups",
    [("name", "=", "Finwatch reader")],
    name="Finwatch reader",
    implied_ids=[(4, env.ref("base.group_user").id)],
)
for model in env["ir.model"].search([("model", "in", MODELS)]):
    of_model = [("model_id", "=", model.id)]
    found_or_made(
        "ir.model.access",
        [*of_model, ("group_id", "=", group.id)],
        name=f"finwatch reads {model.model}",
        model_id=model.id,
        group_id=group.id,
        **READ_ONLY,
    )
    found_or_made(
        "ir.rule",
        [*of_model, ("groups", "in", group.id)],
        name=f"finwatch reads every {model.model}",
        model_id=model.id,
        groups=[(4, group.id)],
        domain_force="[(1, '=', 1)]",
        **READ_ONLY,
    )
# The field of a user's groups was renamed in 19.
groups = "group_ids" if "group_ids" in env["res.users"]._fields else "groups_id"
member = {groups: [(6, 0, [group.id])]}
user = found_or_made("res.users", [("login", "=", "finwatch")], name="Finwatch", login="finwatch", **member)
user.write({"password": secret("odoo_password"), "company_ids": [(6, 0, env["res.company"].search([]).ids)]})
env.cr.commit()
