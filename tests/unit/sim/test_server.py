"""The simulated server over real HTTP: errors, rights, windows, writing, faults."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from finwatch.sim import Company, SimulatedOdoo
from finwatch.sim.__main__ import main

SERVICE = ("svc_cdc", "svc_cdc")
ADMIN = ("admin", "admin")


class Client:
    """Calls `/jsonrpc` without any library in between."""

    def __init__(self, odoo: SimulatedOdoo) -> None:
        self.odoo = odoo

    def post(self, body: bytes, path: str = "/jsonrpc") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.odoo.host, self.odoo.port, timeout=20)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def rpc(self, service: str, method: str, *args: Any) -> dict[str, Any]:
        params = {"service": service, "method": method, "args": args}
        status, headers, body = self.post(
            json.dumps({"jsonrpc": "2.0", "method": "call", "id": 9, "params": params}).encode()
        )
        assert status == 200
        assert headers["Content-Type"].startswith("application/json")
        answer: dict[str, Any] = json.loads(body)
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 9
        return answer

    def call(self, who: tuple[str, str], model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        uid = self.odoo.db.user(who[0]).uid  # type: ignore[union-attr]
        answer = self.rpc("object", "execute_kw", "sim", uid, who[1], model, method, list(args), kwargs)
        return answer.get("result", answer.get("error", {}).get("data", {}).get("name"))


@pytest.fixture(scope="module")
def company() -> Company:
    company = Company(seed=2, weeks=1, scale=0.3, start=datetime(2026, 11, 2, tzinfo=UTC))
    company.advance(company.start + timedelta(days=3))
    return company


@pytest.fixture
def odoo(company: Company) -> Iterator[SimulatedOdoo]:
    with SimulatedOdoo(company.db) as odoo:
        yield odoo


@pytest.fixture
def client(odoo: SimulatedOdoo) -> Client:
    return Client(odoo)


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'{"params": NaN}', b"\xff\xfe"])
def test_malformed_json_is_a_400_page(client: Client, body: bytes) -> None:
    status, headers, page = client.post(body)
    assert status == 400
    assert headers["Content-Type"].startswith("text/html")
    assert b"Bad Request" in page


def test_login_answers_false_and_execute_denies(client: Client) -> None:
    assert client.rpc("common", "login", "sim", "svc_cdc", "nope")["result"] is False
    assert client.rpc("common", "authenticate", "sim", "nobody", "x", {})["result"] is False
    uid = client.rpc("common", "login", "sim", *SERVICE)["result"]
    key = client.odoo.db.users[uid].api_key
    assert client.rpc("common", "login", "sim", "svc_cdc", key)["result"] == uid
    error = client.rpc("object", "execute", "sim", uid, "nope", "res.partner", "search", [])["error"]
    assert (error["code"], error["data"]["name"]) == (200, "odoo.exceptions.AccessDenied")
    missing = client.rpc("common", "login", "other", *SERVICE)["error"]
    assert missing["data"]["name"] == "psycopg2.OperationalError"


@pytest.mark.parametrize(
    ("who", "model", "method", "args", "name"),
    [
        (SERVICE, "crm.stage", "search", [[]], "odoo.exceptions.AccessError"),
        (("auditor", "auditor"), "mail.tracking.value", "search", [[]], "odoo.exceptions.AccessError"),
        (SERVICE, "mail.message", "search_read", [[], ["tracking_value_ids"]], "odoo.exceptions.AccessError"),
        (SERVICE, "account.move", "write", [[1], {"ref": "x"}], "odoo.exceptions.AccessError"),
        (SERVICE, "res.partner", "_search", [[]], "odoo.exceptions.AccessError"),
        (SERVICE, "res.partner", "frobnicate", [[]], "builtins.AttributeError"),
        (SERVICE, "res.partner", "search", [[], 0, -1], "psycopg2.errors.InvalidRowCountInLimitClause"),
        (SERVICE, "res.partner", "search", [[], -1], "psycopg2.errors.InvalidRowCountInResultOffsetClause"),
        (SERVICE, "res.partner", "search", [[], 0, 1, "nope"], "builtins.ValueError"),
        (SERVICE, "res.partner", "search", [[], 0, 1, "id", 5, 6, 7], "builtins.TypeError"),
        (SERVICE, "res.partner", "search_read", [[["nope", "=", 1]]], "builtins.ValueError"),
        (SERVICE, "account.move", "search_read", [[]], "builtins.TypeError"),  # 18 cannot read all of its fields
        (ADMIN, "account.move", "write", [[10**9], {"ref": "x"}], "odoo.exceptions.MissingError"),
        (ADMIN, "account.move", "write", [[1], {"nope": "x"}], "builtins.ValueError"),
        (ADMIN, "res.partner.bank", "create", [{"nope": 1}], "builtins.ValueError"),
        (ADMIN, "purchase.order", "write", [[1], {"state": "nope"}], "builtins.ValueError"),
    ],
)  # fmt: skip
def test_refusals(client: Client, who: tuple[str, str], model: str, method: str, args: list[Any], name: str) -> None:
    assert client.call(who, model, method, *args) == name


def test_limit_zero_is_no_limit_and_count_counts(client: Client) -> None:
    everyone = client.call(SERVICE, "res.partner", "search", [])
    assert client.call(SERVICE, "res.partner", "search", [], limit=0) == everyone
    assert client.call(SERVICE, "res.partner", "search", [], limit=3, offset=2) == everyone[2:5]
    assert client.call(SERVICE, "res.partner", "search_count", []) == len(everyone)
    assert client.call(SERVICE, "res.partner", "search_count", [], limit=4) == 4


def test_labels_follow_the_contexts_language(client: Client) -> None:
    def labels(**kwargs: Any) -> Any:
        return dict(
            client.call(SERVICE, "purchase.order", "fields_get", ["state"], ["selection"], **kwargs)["state"][
                "selection"
            ]
        )

    assert labels()["to approve"] == "To Approve"
    assert labels(context={"lang": "fr_FR"})["to approve"] == "À approuver"
    assert labels(context={"lang": "de_DE"})["to approve"] == "To Approve"
    codes = {row["code"] for row in client.call(SERVICE, "res.lang", "search_read", [], ["code"])}
    assert codes == {"en_US", "fr_FR"}


def test_fields_get_hides_what_the_user_may_not_read(client: Client) -> None:
    assert "tracking_value_ids" not in client.call(SERVICE, "mail.message", "fields_get")
    assert "tracking_value_ids" in client.call(ADMIN, "mail.message", "fields_get")


def test_an_administrator_writes_and_tracking_follows(client: Client, company: Company) -> None:
    partner = client.call(ADMIN, "res.partner", "create", {"name": "New", "email": "a@example.org", "is_company": True})
    assert client.call(ADMIN, "res.partner", "write", [partner], {"email": "b@example.org"}) is True
    row = client.call(
        SERVICE, "res.partner", "read", [partner], ["email", "create_date", "vat", "bank_ids", "supplier_rank"]
    )[0]
    assert row == {
        "id": partner,
        "email": "b@example.org",
        "create_date": f"{company.now:%Y-%m-%d %H:%M:%S}",
        "vat": False,
        "bank_ids": [],
        "supplier_rank": 0,
    }
    value = client.call(SERVICE, "mail.tracking.value", "search_read", [["mail_message_id.res_id", "=", partner]])[0]
    assert (value["old_value_char"], value["new_value_char"]) == ("a@example.org", "b@example.org")
    assert value["field_id"][1] == "Email (Contact)"
    account = client.call(ADMIN, "res.partner", "write", [partner], {"bank_ids": [[0, 0, {"acc_number": "X1"}]]})
    assert account is True
    assert len(client.call(SERVICE, "res.partner", "read", [partner], ["bank_ids"])[0]["bank_ids"]) == 1
    assert client.call(ADMIN, "res.partner", "unlink", [partner]) is True
    assert client.call(SERVICE, "res.partner", "read", [partner], ["name"]) == []
    assert client.call(ADMIN, "res.partner", "write", [partner], {"name": "x"}) == "odoo.exceptions.MissingError"


def test_business_methods_run_and_posted_entries_cannot_be_deleted(client: Client) -> None:
    draft = client.call(
        SERVICE, "account.move", "search", [["move_type", "=", "in_invoice"], ["state", "=", "draft"]], limit=1
    )
    assert client.call(ADMIN, "account.move", "action_post", draft) is True
    assert client.call(SERVICE, "account.move", "read", draft, ["state"])[0]["state"] == "posted"
    assert client.call(ADMIN, "account.move", "unlink", draft) == "odoo.exceptions.UserError"
    assert client.call(SERVICE, "account.move", "action_post", draft) == "odoo.exceptions.AccessError"


def test_the_audit_trail_keeps_what_was_posted_once(client: Client, company: Company) -> None:
    posted = [["move_type", "=", "in_invoice"], ["state", "=", "posted"], ["payment_state", "=", "not_paid"]]
    bill = client.call(SERVICE, "account.move", "search", posted, limit=1)
    assert client.call(ADMIN, "account.move", "button_draft", bill) is True
    company.db.tables["res.company"].rows[1]["check_account_audit_trail"] = True
    try:
        assert client.call(ADMIN, "account.move", "unlink", bill) == "odoo.exceptions.UserError"
    finally:
        company.db.tables["res.company"].rows[1]["check_account_audit_trail"] = False
    assert client.call(ADMIN, "account.move", "unlink", bill) is True


def test_unknown_paths_and_health(client: Client, odoo: SimulatedOdoo) -> None:
    assert json.loads(client.post(b"{}", "/web/nowhere")[2])["error"]["data"]["name"] == "werkzeug.exceptions.NotFound"
    connection = http.client.HTTPConnection(odoo.host, odoo.port, timeout=20)
    connection.request("GET", "/web/health")
    assert json.loads(connection.getresponse().read()) == {"status": "pass"}
    connection.close()


def test_the_date_header_shows_the_servers_own_clock(client: Client, company: Company) -> None:
    company.db.clock_skew = timedelta(hours=1)
    try:
        _, headers, _ = client.post(b"{}", "/web/webclient/version_info")
    finally:
        company.db.clock_skew = timedelta()
    assert parsedate_to_datetime(headers["Date"]) == (company.now + timedelta(hours=1)).replace(microsecond=0)


def test_faults_happen_once_each_and_clear(client: Client, odoo: SimulatedOdoo) -> None:
    body = b'{"jsonrpc": "2.0", "id": 1, "params": {"service": "common", "method": "version", "args": []}}'
    odoo.faults.next_statuses.extend([429, 500])
    status, headers, _ = client.post(body)
    assert (status, headers["Retry-After"]) == (429, "1")
    assert client.post(body)[0] == 500
    odoo.faults.cut_next = 1
    status, _, cut = client.post(body)
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut)
    odoo.faults.reset_next = 1
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        client.post(body)
    odoo.faults.refuse_logins = True
    assert client.rpc("common", "login", "sim", *SERVICE)["result"] is False
    assert client.call(SERVICE, "res.partner", "search", []) == "odoo.exceptions.AccessDenied"
    odoo.faults.clear()
    assert client.rpc("common", "login", "sim", *SERVICE)["result"]
    odoo.faults.rate = 1.0
    assert client.post(body)[0] in odoo.faults.statuses


def test_requests_are_counted_and_a_second_start_is_refused(client: Client, odoo: SimulatedOdoo) -> None:
    client.call(SERVICE, "res.partner", "search", [])
    assert odoo.requests["res.partner.search"] == 1
    with pytest.raises(RuntimeError, match="already running"):
        odoo.start()
    with pytest.raises(OSError):
        SimulatedOdoo(odoo.db, odoo.port).start()


def test_the_module_runs_and_stops_and_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    class Once:
        """An event that is set after the first look."""

        looks = 0

        def wait(self, timeout: float) -> bool:
            self.looks += 1
            return self.looks > 1

    assert main(["--port", "0", "--weeks", "1", "--scale", "0.1"], Once()) == 0  # type: ignore[arg-type]
    assert "simulated Odoo 18.0 at http://127.0.0.1:" in capsys.readouterr().out
    assert main(["--data", "/nowhere", "--port", "0"]) == 1
    assert "no captured rows" in capsys.readouterr().err
