"""docker-compose.yml, Dockerfile and secrets keep what the documents promise: closed ports, no passwords, health."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts.environment import program
from tests.parts.monitoring import promtool

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
PARSER = "github.com/compose-spec/compose-go/v2/cmd@v2.4.9"
ONE_SHOT = {"init", "odoo-init"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    subprocess.run(["sh", ROOT / "deploy" / "make-secrets.sh", folder], check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_compose_file_is_valid_for_the_specification(tmp_path: Path) -> None:
    go = program("go", why="the compose file is checked by the specification's own parser, run with Go")
    shutil.copy(COMPOSE, tmp_path)
    parsed = subprocess.run(
        [go, "run", PARSER, "docker-compose.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert parsed.returncode == 0, parsed.stderr
    normalised = yaml.safe_load(parsed.stdout)["services"]
    assert {"kafka", "registry", "clickhouse", "stream-documents", "sink-clickhouse"} <= normalised.keys()


def test_ports_are_published_on_loopback_only(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) >= 8
    for port in published:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9_]+:-\d+\}:\d+", port), port


def test_there_are_no_passwords_in_the_file(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|ENCRYPTION_KEY|ACCOUNT_KEY|API_KEY", key):
                assert key.endswith("_FILE"), f"{name}: {key}"
                secret = re.fullmatch(r"/run/secrets/(\w+)", str(value))
                assert secret and secret[1] in service["secrets"], f"{name}: {key}"


def test_every_secret_has_a_random_file_in_a_closed_folder(secrets: Path, tmp_path: Path) -> None:
    declared = yaml.safe_load(COMPOSE.read_text())["secrets"]
    assert {Path(secret["file"]).name for secret in declared.values()} == {path.name for path in secrets.iterdir()}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700

    subprocess.run(["sh", ROOT / "deploy" / "make-secrets.sh", tmp_path / "other"], check=True, capture_output=True)
    # An API key is made by the account in Odoo: empty until somebody writes it there, and then it is not used.
    assert (secrets / "odoo_api_key").read_text() == ""
    files = [path for folder in (secrets, tmp_path / "other") for path in folder.iterdir()]
    values = [path.read_text() for path in files if path.name != "odoo_api_key"]
    passwords = [value for value in values if "://" not in value]
    assert len(set(passwords)) == len(passwords)
    assert all(len(password) >= 32 for password in passwords)


def test_the_capture_may_speak_to_every_version_and_read_what_is_configured(
    services: dict[str, dict[str, Any]],
) -> None:
    told = services["capture"]["environment"]
    assert told["FINWATCH_ODOO_TRANSPORT"] == "${FINWATCH_ODOO_TRANSPORT:-auto}"
    assert told["FINWATCH_ODOO_API_KEY_FILE"] == "/run/secrets/odoo_api_key"
    assert any(one.endswith(":/etc/finwatch/custom.yaml:ro") for one in services["capture"]["volumes"])


@pytest.mark.parametrize("field", ["groups_id", "group_ids"])
def test_the_account_of_the_try_out_odoo_is_made_in_every_version(field: str, tmp_path: Path) -> None:
    """The field of a user's groups was renamed in 19: the script writes the one that there is."""

    class Records:
        def __init__(self, name: str) -> None:
            self.name, self.id, self.ids, self._fields = name, 7, [1], {field: object()}

        def __getitem__(self, name: str) -> Records:
            return Records(name)

        def search(self, *_: Any, **__: Any) -> Any:
            return () if self.name in ("res.users", "ir.model") else self

        def create(self, values: dict[str, Any]) -> Records:
            made.append((self.name, values))
            return self

        def write(self, values: dict[str, Any]) -> None:
            pass

        def ref(self, _name: str) -> Records:
            return self

        def commit(self) -> None:
            pass

    made: list[tuple[str, dict[str, Any]]] = []
    env = Records("env")
    env.cr = env  # type: ignore[attr-defined]
    script = (ROOT / "deploy" / "odoo" / "users.py").read_text().replace("/run/secrets", str(tmp_path))
    for name in ("odoo_admin_password", "odoo_password"):
        (tmp_path / name).write_text("a password")
    exec(compile(script, "users.py", "exec"), {"env": env})
    (values,) = [values for model, values in made if model == "res.users"]
    assert values[field] == [(6, 0, [7])] and {"groups_id", "group_ids"} & values.keys() == {field}


def test_making_secrets_again_keeps_them(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run(["sh", ROOT / "deploy" / "make-secrets.sh", secrets], check=True, capture_output=True)
    assert before == {path.name: path.read_text() for path in secrets.iterdir()}


def test_services_are_held_down(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= limits.keys(), name
        assert service["networks"] == ["finwatch"], name
        if "build" in service:
            assert service["read_only"] is True, name


def test_long_running_services_are_watched(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name in ONE_SHOT:
            assert service["restart"].startswith("on-failure"), name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name


def test_services_wait_for_what_they_need(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for needed, how in (service.get("depends_on") or {}).items():
            assert needed in services, name
            expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == expected, f"{name} on {needed}"


def test_images_are_pinned(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.search(r":v?\d+(\.\d+)*$", service["image"]), name


def test_mounted_files_are_there(services: dict[str, dict[str, Any]]) -> None:
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert len(mounted) >= 6
    for path in mounted:
        assert (ROOT / path).exists(), path


def test_commands_exist(services: dict[str, dict[str, Any]]) -> None:
    from typer.main import get_command

    from finwatch.cli.app import app

    def exists(words: list[str]) -> bool:
        command: Any = get_command(app)
        for word in words:
            if not hasattr(command, "commands"):
                return True  # an argument of a command
            if word not in command.commands:
                return False
            command = command.commands[word]
        return True

    for name, service in services.items():
        if "build" not in service:
            continue
        lines = service["command"]
        wanted = [part.split()[1:] for part in lines[0].split(" && ")] if name == "init" else [lines]
        for words in wanted:
            assert exists(words), f"{name}: finwatch {' '.join(words)}"


def test_settings_exist(services: dict[str, dict[str, Any]]) -> None:
    from finwatch.runtime.config import Settings

    known = set()
    for group, field in Settings.model_fields.items():
        nested = getattr(field.annotation, "model_fields", None)
        known |= {f"FINWATCH_{group}_{name}".upper() for name in nested} if nested else {f"FINWATCH_{group}".upper()}
    used = {key for service in services.values() for key in service.get("environment") or {} if "FINWATCH" in key}
    used |= set(re.findall(r"^(FINWATCH_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used |= set(re.findall(r"(FINWATCH_\w+)=", (ROOT / "Dockerfile").read_text()))
    assert len(used) >= 12
    for name in used:
        assert name.removesuffix("_FILE") in known, name


def test_variables_of_the_compose_file_are_explained() -> None:
    example = set(re.findall(r"^([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_0-9]+)", COMPOSE.read_text())) == example


def test_image_is_built_from_locked_packages_and_does_not_run_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for line in text.splitlines():
        if " install " in line and "/pip" in line:
            assert "--require-hashes" in line or "--no-index" in line, line
    final = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists() and source in allowed, source


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    packages = ["finwatch", "producers", "schemas", "streams", "sinks", "dashboards"]
    for name in [*packages, "pyproject.toml", "README.md", "LICENSE"]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        else:
            shutil.copy(source, tmp_path)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path / "made", "."],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=240,
    )
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = {
        str(path.relative_to(tmp_path)) for name in packages for path in (tmp_path / name).rglob("*") if path.is_file()
    }
    assert len(wanted) > 100
    assert wanted - held == set()


@pytest.mark.prometheus
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    shutil.copy(ROOT / "deploy" / "prometheus" / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "dashboards" / "generated" / "prometheus", tmp_path / "rules")
    checked = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert checked.code == 0, checked.output
    assert "2 rule files found" in checked.output
