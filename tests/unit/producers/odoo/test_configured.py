"""The file of custom fields and models: what it takes, and what is wrong with the rest, with its line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from finwatch.cli.app import app
from finwatch.runtime.config import ConfigError, load_settings
from finwatch.runtime.topics import CUSTOM
from producers.odoo.configured import CustomFileError, example, parse_file, personal
from producers.odoo.mapping import BY_MODEL, SHIPPED
from producers.odoo.rights import rights
from producers.odoo.run import capture_settings

HEAD = "version: 1\nsources:\n  odoo:\n"


def file(text: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in text.splitlines())


def test_the_example_is_sound_and_does_what_its_comments_say() -> None:
    mappings = parse_file(example(), "example").mappings("odoo")
    assert "crm.lead" not in mappings and mappings.off == {"crm.lead", "planning.slot"}
    assert "x_studio_cost_center" in mappings["account.move"].fields.of(18)
    (line,) = mappings["account.move"].children
    assert "x_studio_cost_center" in line.fields.of(18) and line.parent == "move_id"
    loan = mappings["x_loan"]
    assert loan.entities == (CUSTOM,) and [child.model for child in loan.children] == ["x_loan_line"]
    assert mappings["sale.order"] is BY_MODEL["sale.order"]  # untouched: the very same


def test_the_worked_example_of_the_documents_is_sound() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "custom-capture.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    mappings = parse_file(text, "custom-capture.md").mappings("odoo")
    assert "x_loan" in mappings and "crm.lead" not in mappings and mappings["account.move"].configured is not None


def test_a_source_that_the_file_does_not_name_has_what_comes_with_finwatch() -> None:
    assert parse_file(example(), "example").mappings("another") is SHIPPED


def test_only_leaves_out_all_others() -> None:
    mappings = parse_file(file("only: [account.move, res.partner]"), "f").mappings("odoo")
    assert [one.model for one in mappings] == ["res.partner", "account.move"]
    assert "purchase.order" in mappings.off


REFUSED = {
    "a model that is not captured": ("fields:\n  x_loan:\n    a: {type: char}", 5, "describe it under `models`"),
    "a model that is captured": ("models:\n  res.partner: {kind: a}", 5, "under `fields`"),
    "a model of credentials": ("models:\n  ir.config_parameter: {kind: a}", 5, "never captured"),
    "the log": ("models:\n  mail.message: {kind: a}", 5, "no document"),
    "an unknown type": ("fields:\n  res.partner:\n    a: {type: binary}", 6, "Input should be 'char'"),
    "a secret by its key": (
        "fields:\n  res.partner:\n    api_token: {field: x_a, type: char}",
        6,
        "looks like a secret",
    ),
    "a secret by its field": (
        "fields:\n  res.partner:\n    a: {field: x_password, type: char}",
        6,
        "looks like a secret",
    ),
    "a path": ("fields:\n  res.partner:\n    a: {field: country_id.code, type: char}", 6, "no path"),
    "a monetary without currency": ("fields:\n  account.move:\n    a: {type: monetary}", 6, "`currency`"),
    "a name of no many2one": ("fields:\n  account.move:\n    a: {type: char, named: true}", 6, "many2one"),
    "a hashed number": ("fields:\n  account.move:\n    a: {type: float, hashed: true}", 6, "for text"),
    "an account number": ("fields:\n  account.move:\n    a: {field: x_iban, type: char}", 5, "hashed: true"),
    "an account number as a name": ("models:\n  x_a: {kind: a, name: x_iban}", 5, "keyed hashes"),
    "an amount without currency": ("models:\n  x_a: {kind: a, amount: x_b}", 5, "go together"),
    "an unknown entity": ("models:\n  x_a: {kind: a, parent: {field: x_b, entity: loan}}", 5, "no entity loan"),
    "an unknown word": ("models:\n  x_a: {kind: a, feilds: {}}", 5, "check its spelling"),
    "an unknown way of changes": ("models:\n  x_a: {kind: a, changes: whole}", 5, "'stamped', 'polled' or 'swept'"),
    "an unknown model to leave out": ("without: [account.mvoe]", 4, "no model that is captured"),
    "two ways to choose": ("only: [account.move]\nwithout: [res.partner]", 3, "exclude each other"),
    "fields of what is off": ("without: [crm.lead]\nfields:\n  crm.lead:\n    a: {type: char}", 3, "switched off"),
    "lines that are a model": (
        "models:\n  x_a: {kind: a, lines: {x_b: {parent: x_c}}}\n  x_b: {kind: b}",
        3,
        "not several of them",
    ),
    "a key twice": ("fields:\n  res.partner:\n    a: {type: char}\n    a: {type: text}", 7, "twice"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_said_with_its_line(what: str) -> None:
    text, line, message = REFUSED[what]
    with pytest.raises(CustomFileError, match=rf"custom\.yaml, line {line}: .*") as caught:
        parse_file(file(text), "custom.yaml")
    assert message in str(caught.value)


def test_what_looks_like_personal_data_is_told_unless_it_is_hashed() -> None:
    text = "fields:\n  res.partner:\n    a: {field: x_birthday, type: date}\n    b: {type: char, field: email, hashed: "
    text += "true}"
    entry = parse_file(file(text), "f").sources["odoo"]
    assert list(personal(entry)) == [("res.partner", "x_birthday")]


def test_the_account_is_to_read_what_is_configured() -> None:
    mappings = parse_file(example(), "example").mappings("odoo")
    wanted = {right.model: right.without for right in rights(18, mappings)}
    assert {"x_loan", "x_loan_line"} <= wanted.keys() and "crm.lead" not in wanted
    assert wanted["x_loan_line"] == "lines of x_loan"


def test_the_capture_takes_the_file_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINWATCH_ODOO_ACCOUNT_KEY", "k" * 32)
    assert capture_settings(load_settings()).mappings is SHIPPED
    monkeypatch.setenv("FINWATCH_ODOO_CUSTOM", str(tmp_path / "custom.yaml"))
    with pytest.raises(ConfigError, match=r"custom\.yaml: No such file"):
        capture_settings(load_settings())
    (tmp_path / "custom.yaml").write_text(example())
    assert "x_loan" in capture_settings(load_settings()).mappings


def test_the_command_checks_files_for_people_and_programs(tmp_path: Path) -> None:
    sound, wrong = tmp_path / "sound.yaml", tmp_path / "wrong.yaml"
    sound.write_text(CliRunner().invoke(app, ["capture", "example"]).output)
    wrong.write_text(file("fields:\n  res.partner:\n    mail: {field: email, type: char}\n    b: {type: foo}"))
    told = CliRunner().invoke(app, ["capture", "check", str(sound)])
    assert told.exit_code == 0 and "x_loan" in told.output and "stays there" in told.output
    both = CliRunner().invoke(app, ["capture", "check", str(sound), str(wrong), "--json"])
    assert both.exit_code == 78
    first, second = json.loads(both.output)
    assert first["sound"] and first["sources"]["odoo"]["off"] == ["crm.lead", "planning.slot"]
    assert not second["sound"] and "line 7" in second["error"]
