"""`finwatch odoo`: setting up a real Odoo for capture, and what its account may see."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finwatch.cli.options import Json
from finwatch.cli.output import Failed, out, show_json, show_table
from finwatch.runtime.exits import ExitCode

if TYPE_CHECKING:
    from finwatch.cli.odoo_account import Administrator, Step
    from finwatch.runtime.config import OdooSettings, Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Set up a real Odoo for capture.")
_MARKS = {"create": "[green]create[/]", "change": "[yellow]change[/]", "keep": "[dim]there[/]", "skip": "[dim]–[/]"}


@app.command()
def setup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Give an account that exists the configured password.")
    ] = False,
    json: Json = False,
) -> None:
    """Make the account that finwatch reads with: one group, read rights, rules to read every record, one user.

    The account's login and password are those that the capture uses (FINWATCH_ODOO_USER, FINWATCH_ODOO_PASSWORD).
    The administrator's are asked for, or come from FINWATCH_ODOO_ADMIN_USER and FINWATCH_ODOO_ADMIN_PASSWORD; `_FILE`
    behind either names a file. They are used once and kept nowhere. Safe to run again: what is there is left alone.
    Afterwards each right is tried with the account itself, as finwatch doctor does.

    Examples: [bold]finwatch odoo setup --dry-run[/], [bold]finwatch odoo setup[/].
    Exit codes: 0 done, 1 a right is missing afterwards, 69 Odoo is not reachable, 77 the login is refused or is no
    administrator's, 78 configuration.
    """
    from finwatch.cli.odoo_account import plan
    from finwatch.runtime.config import load_settings
    from producers.odoo.configured import configured
    from producers.odoo.errors import AccessRefused, OdooError
    from producers.odoo.rights import rights

    settings = load_settings()
    odoo = _complete(settings)
    administrator = _administrator(odoo)
    wanted = rights(mappings=configured(odoo))
    models = [right.model for right in wanted]
    try:
        there = administrator.there(models, odoo.user)
        steps = list(plan(there, models, odoo.user))
        if not dry_run:
            administrator.take(steps, there.group, odoo.password.get_secret_value())
            if new_password and there.user is not None:
                administrator.give_password(odoo.user, odoo.password.get_secret_value())
    except AccessRefused:
        raise Failed("this login may not manage users and rights", "use an administrator's", ExitCode.DENIED) from None
    except OdooError as error:
        if getattr(error, "exit_code", None) is not None:
            raise
        raise Failed(f"Odoo refuses: {error}", "look at Odoo's log; what was done so far stays, run it again") from None
    finally:
        administrator.close()
    checks = [] if dry_run else list(_checked(settings))
    _tell(steps, checks, {right.model: right.without for right in wanted}, dry_run=dry_run, as_json=json)
    if any(status == "failed" for _, status, _, _ in checks):
        raise typer.Exit(ExitCode.FAILED)


def _complete(settings: "Settings") -> "OdooSettings":
    odoo = settings.odoo
    for name, value in (("URL", odoo.url), ("DATABASE", odoo.database), ("USER", odoo.user)):
        if not value:
            raise Failed(f"FINWATCH_ODOO_{name} is not set", "set it: the capture needs it as well", ExitCode.CONFIG)
    if len(odoo.password.get_secret_value()) < 12:
        raise Failed(
            "FINWATCH_ODOO_PASSWORD is missing, or shorter than 12 characters",
            "make one with `openssl rand -hex 24` and give it as FINWATCH_ODOO_PASSWORD_FILE",
            ExitCode.CONFIG,
        )
    return odoo


def _administrator(odoo: "OdooSettings") -> "Administrator":
    from finwatch.cli.odoo_account import Administrator

    user, password = odoo.admin_user, odoo.admin_password.get_secret_value()
    if not (user and password) and not sys.stdin.isatty():
        raise Failed(
            "there is nobody to ask for the administrator's login",
            "set FINWATCH_ODOO_ADMIN_USER and FINWATCH_ODOO_ADMIN_PASSWORD_FILE",
            ExitCode.CONFIG,
        )
    user = user or typer.prompt("Odoo administrator")
    password = password or typer.prompt("Password or API key", hide_input=True)
    if user == odoo.user:
        raise Failed(
            "the administrator and the account to be made have one login",
            "FINWATCH_ODOO_USER names the account that finwatch reads with, not the administrator",
            ExitCode.CONFIG,
        )
    try:
        return Administrator.of(odoo, user, password)
    except ValueError as error:
        raise Failed(f"FINWATCH_ODOO_URL: {error}", "correct it", ExitCode.CONFIG) from None


def _checked(settings: "Settings") -> "list[tuple[str, str, str, str]]":
    """What the account itself sees. Over JSON-RPC: a key for JSON-2 can be made by the account only."""
    from producers.odoo.check import check
    from producers.odoo.transport import OdooRpcTransport

    odoo = settings.odoo
    ca_file = str(odoo.ssl_ca) if odoo.ssl_ca else None
    transport = OdooRpcTransport(
        odoo.url, odoo.database, odoo.user, odoo.password.get_secret_value(), timeout=odoo.timeout, ca_file=ca_file
    )
    try:
        return [(name, status, found, advice) for name, status, found, advice in check(odoo, transport)]
    finally:
        transport.close()


def _tell(
    steps: "list[Step]",
    checks: list[tuple[str, str, str, str]],
    without: dict[str, str],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        show_json(
            {
                "dry_run": dry_run,
                "steps": [{"what": one.what, "about": one.about, "right": one.right} for one in steps],
                "checks": [
                    {"check": name, "status": status, "found": found, "what_to_do": advice}
                    for name, status, found, advice in checks
                ],
            }
        )
        return
    rows: list[tuple[Any, ...]] = [(_MARKS[one.what], one.about, without.get(one.right, "")) for one in steps]
    show_table("", ("", "what", "not seen without it"), rows)
    todo = sum(one.what in ("create", "change") for one in steps)
    out.print(
        f"\n{todo} steps {'would be' if dry_run else 'were'} taken" if todo else "\nall there already", style="bold"
    )
    wrong = [one for one in checks if one[1] in ("failed", "warning")]
    for name, status, found, advice in wrong:
        out.print(f"[{'red' if status == 'failed' else 'yellow'}]{name}[/]: {found}. {advice}", soft_wrap=True)
    if checks and not wrong:
        out.print("every right was tried with the account: it reads everything and may write nothing", style="green")
    if not dry_run and "FINWATCH_ODOO_API_KEY" not in os.environ:
        out.print("Odoo 19 and later: log in as the account once and make an API key (docs/odoo-setup.md)", style="dim")
