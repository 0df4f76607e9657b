"""What a registry does, on the embedded one and on a server that nobody here wrote."""

import datetime as dt
import json
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from finwatch.runtime.config import RegistrySettings
from schemas.catalogue import Schema, SchemaError, current, parse
from schemas.codec import Bad, Decoder, Encoder
from schemas.compatibility import apply, published
from schemas.registry import (
    ConfluentRegistry,
    EmbeddedRegistry,
    Registry,
    RegistryError,
    RegistryUnavailable,
    SchemaNotRegistered,
    UnknownSchema,
    embedded_id,
)
from schemas.tree import tree
from tests.unit.schemas.strategies import struct_of


@pytest.fixture(params=["embedded", pytest.param("confluent", marks=pytest.mark.registry)])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "embedded":
        return EmbeddedRegistry(())
    return ConfluentRegistry(RegistrySettings(url=request.getfixturevalue("registry_url")), seconds=2, timeout=5)


def invented(*more: str) -> Schema:
    """A schema that no other test registers."""
    name = f"T{uuid.uuid4().hex}"
    columns = [{"name": "a", "type": "string"}, *({"name": column, "type": "long", "default": 0} for column in more)]
    return parse(json.dumps({"type": "record", "name": name, "namespace": "test", "fields": columns}))


def extended(schema: Schema) -> Schema:
    definition = json.loads(schema.text)
    definition["fields"].append({"name": "later", "type": "long", "default": 0})
    return parse(json.dumps(definition))


def test_a_registered_schema_is_found_by_id_and_by_text(registry: Registry) -> None:
    schema = invented()
    schema_id = registry.register(schema)
    assert 0 < schema_id < 2**31
    assert registry.schema(schema_id) == schema
    assert registry.schema_id(schema) == schema_id
    assert registry.schema_id(parse(schema.text)) == schema_id


def test_registering_again_is_the_same_id(registry: Registry) -> None:
    schema = invented()
    assert registry.register(schema) == registry.register(schema)


def test_an_unknown_id(registry: Registry) -> None:
    for _ in range(2):
        with pytest.raises(UnknownSchema):
            registry.schema(2**31 - 7)


def test_a_schema_that_is_not_registered(registry: Registry) -> None:
    with pytest.raises(SchemaNotRegistered):
        registry.schema_id(invented())
    registry.register(schema := invented())
    with pytest.raises(SchemaNotRegistered):
        registry.schema_id(extended(schema))


def test_versions_are_listed_oldest_first(registry: Registry) -> None:
    schema = invented()
    assert registry.versions(schema.full_name) == []
    registry.register(schema)
    registry.register(extended(schema))
    assert registry.versions(schema.full_name) == [schema, extended(schema)]


def test_the_codec_works_over_it(registry: Registry) -> None:
    apply(registry)
    assert {change.action for change in apply(registry)} == {"present"}
    beat = struct_of(tree(current()["finwatch.Kpi"]))
    record = beat("k", "{}", "t", 0, 7, dt.datetime.now(dt.UTC), 1.0, None, None)
    value = Encoder(registry).encode(record, "finwatch.Kpi")
    assert Decoder(registry).decode([value] * 20, {"finwatch.Kpi": beat}) == [record] * 20
    (bad,) = Decoder(registry).decode([b"\x00\x7f\xff\xff\xf0" + value[5:]], {"finwatch.Kpi": beat})
    assert isinstance(bad, Bad) and bad.reason == "unknown_schema"


def test_embedded_ids_depend_on_nothing_but_the_schema() -> None:
    # Fixed for ever: another process, another day, another machine must agree.
    tiny = parse('{"type":"record","name":"T","namespace":"n","fields":[{"name":"a","type":"string"}]}')
    assert tiny.canonical == '{"name":"n.T","type":"record","fields":[{"name":"a","type":"string"}]}'
    assert embedded_id(tiny) == 2126582110
    described = parse(
        '{"doc":"x","fields":[{"doc":"y","type":{"type":"string"},"name":"a","default":""}],"name":"n.T","type":"record"}'
    )
    assert embedded_id(described) == embedded_id(tiny)
    assert {EmbeddedRegistry().schema_id(current()[name]) for name in published()} == {
        embedded_id(current()[name]) for name in published()
    }


def test_a_collision_of_embedded_ids_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.registry.embedded_id", lambda schema: 4)
    with pytest.raises(SchemaError, match="same embedded id"):
        EmbeddedRegistry((invented(), invented()))


@pytest.fixture
def answering() -> Any:
    """A server that answers every request with the given status and body; counts requests."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: dict[str, Any]) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_absent_server_is_an_outage_that_says_what_to_do() -> None:
    registry = ConfluentRegistry(RegistrySettings(url="http://127.0.0.1:9"), seconds=0.5, timeout=1)
    for call in (lambda: registry.schema(1), lambda: registry.schema_id(invented()), lambda: registry.versions("x")):
        with pytest.raises(RegistryUnavailable, match="FINWATCH_REGISTRY_URL"):
            call()


def test_a_failing_server_is_an_outage(answering: Callable[..., tuple[str, list[str]]]) -> None:
    url, asked = answering(503, {"error_code": 50003, "message": "no leader"})
    registry = ConfluentRegistry(RegistrySettings(url=url), seconds=1, timeout=1)
    with pytest.raises(RegistryUnavailable):
        registry.schema(1)
    assert len(asked) > 1, "tried again"


def test_an_unknown_id_is_remembered_for_a_while(answering: Callable[..., tuple[str, list[str]]]) -> None:
    url, asked = answering(404, {"error_code": 40403, "message": "Schema not found"})
    registry = ConfluentRegistry(RegistrySettings(url=url), seconds=1, timeout=1, negative_seconds=60)
    for _ in range(5):
        with pytest.raises(UnknownSchema):
            registry.schema(1)
    assert len(asked) == 1
    brief = ConfluentRegistry(RegistrySettings(url=url), seconds=1, timeout=1, negative_seconds=0)
    for _ in range(3):
        with pytest.raises(UnknownSchema):
            brief.schema(1)
    assert len(asked) == 4


def test_missing_rights_are_an_error_without_the_password(answering: Callable[..., tuple[str, list[str]]]) -> None:
    url, _ = answering(401, {"error_code": 401, "message": "Unauthorized"})
    registry = ConfluentRegistry(RegistrySettings(url=url, user="u", password="geheim"), seconds=1, timeout=1)
    with pytest.raises(RegistryError, match="HTTP 401") as refused:
        registry.schema(1)
    assert "geheim" not in str(refused.value)


def test_an_incompatible_schema_is_refused_with_its_name(answering: Callable[..., tuple[str, list[str]]]) -> None:
    url, _ = answering(409, {"error_code": 409, "message": "incompatible"})
    schema = invented()
    with pytest.raises(RegistryError, match=schema.full_name):
        ConfluentRegistry(RegistrySettings(url=url), seconds=1, timeout=1).register(schema)
