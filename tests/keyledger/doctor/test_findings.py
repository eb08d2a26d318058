"""Each finding of the doctor, on a deployment in which the thing was really broken."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from domain.approvals.needs import Approval
from domain.credentials.providers import CredentialConfig
from keyledger import doctor, embedded_postgres
from keyledger.doctor import CHECKS, Finding, State, circumstances, disk, endpoints, examine
from keyledger.doctor.circumstances import Circumstances
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Presence
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.log.anchors.log_state import look
from keyledger.proofs.checkpoint_file import CheckpointFile
from tests.support.issuer import Answer, token_issuer
from tests.support.pooler import pooled
from tests.support.ports import free_port
from tests.support.scenario import TENANT
from tests.support.service import client_of, environment, served
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store

KEY = "sk-canary-4f9d1e7ab2xyz9"
SUPER_KEY = "super-canary-0123456789"
CATALOGUE = (
    "completion_models:\n  - {name: gpt, family: openai, litellm_model_name: openai/gpt}\nembedding_models: []\n"
)
SECRETS = (KEY, SUPER_KEY, ENCRYPTION_KEY.reveal(), OTHER_ENCRYPTION_KEY.reveal())


@dataclass
class Deployment:
    """A node that could start, in a folder of its own, and its database with one credential."""

    folder: Path
    store: Store
    environ: dict[str, str]
    changes: dict[str, object] = field(default_factory=dict)
    free_port: int = 0

    def examine(self) -> list[Finding]:
        with circumstances(self.environ, self.folder / ".env", "127.0.0.1", self.free_port) as here:
            for name, value in self.changes.items():
                setattr(here, name, value)
            # The tests' role is a superuser, which is found each time.
            found = [one for one in examine(here) if "is a superuser" not in one.said]
        told = repr(found)
        assert not [secret for secret in SECRETS if secret in told]
        return found

    def wrong(self) -> list[tuple[str, State, str]]:
        """The findings that are not in order: subject, state and sentence."""
        return [(one.subject, one.state, one.said) for one in self.examine() if one.state is not State.OK]

    def only(self, subject: str, state: State, said: str) -> None:
        """Demand that this alone is wrong, and that a command is named for it."""
        (found,) = (one for one in self.examine() if one.state is not State.OK)
        assert (found.subject, found.state) == (subject, state)
        assert said in found.said
        assert found.next

    def administer(self, *statements: str) -> None:
        with self.store.superuser() as database:
            for statement in statements:
                database.execute(statement.encode())


@pytest.fixture
def deployment(tmp_path: Path, store: Store) -> Deployment:
    """A deployment in order."""
    store.set(TENANT, "openai", KEY)
    store.follow()
    (tmp_path / "ai_models.yml").write_text(CATALOGUE)
    (tmp_path / ".env").write_text("LOG_LEVEL=info\n")
    (tmp_path / ".env").chmod(0o600)
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    AnchorFile(data_dir).replace(look(store.pool, []).now)
    port = free_port()
    environ = {
        "TENANT_CREDENTIALS_ENABLED": "true",
        "ENCRYPTION_KEY": ENCRYPTION_KEY.reveal(),
        "SUPER_API_KEY": SUPER_KEY,
        "DATABASE_URL": store.url,
        "DATA_DIR": str(data_dir),
        "AI_MODELS_FILE": str(tmp_path / "ai_models.yml"),
    }
    return Deployment(tmp_path, store, environ, free_port=port)


def test_a_deployment_in_order_has_a_finding_for_each_check_and_none_is_wrong(deployment: Deployment) -> None:
    found = deployment.examine()
    assert [one for one in found if one.state is not State.OK] == []
    assert list(dict.fromkeys(one.subject for one in found)) == [subject for subject, _ in CHECKS]


def test_nothing_is_changed(deployment: Deployment) -> None:
    before = _kept(deployment)
    deployment.examine()
    assert _kept(deployment) == before


def _kept(deployment: Deployment) -> object:
    files = {str(path): path.lstat() for path in deployment.folder.rglob("*")}
    stats = {name: (found.st_mode, found.st_size, found.st_mtime_ns) for name, found in files.items()}
    with deployment.store.superuser() as database:
        tables = ("keyledger_events", "current_credentials", "audit_trail", "projection_positions", "nodes")
        counted = [
            database.execute(sql.SQL("SELECT count(*), max(xmin::text) FROM {}").format(sql.Identifier(one))).fetchone()
            for one in tables
        ]
    return stats, counted


def test_where_nothing_is_there_every_check_still_says_something(tmp_path: Path) -> None:
    with circumstances({"DATA_DIR": str(tmp_path / "none")}, tmp_path / ".env", "127.0.0.1", 1) as here:
        found = examine(here)
    assert {one.subject for one in found} == {subject for subject, _ in CHECKS}
    assert not (tmp_path / "none").exists()


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(here: Circumstances) -> Iterator[Finding]:
        raise RuntimeError(KEY)

    monkeypatch.setattr(doctor, "CHECKS", [CHECKS[0], ("database", broken), *CHECKS[2:]])
    assert deployment.wrong() == [("database", State.FAULT, "the check itself failed (RuntimeError)")]


class TestSettings:
    def test_faults_are_told_and_what_needs_no_settings_is_looked_at(self, deployment: Deployment) -> None:
        deployment.environ["ENCRYPTION_KEY"] = KEY
        wrong = deployment.wrong()
        assert [(subject, state) for subject, state, _ in wrong] == [
            ("settings", State.FAULT),
            ("encryption keys", State.NOT_LOOKED_AT),
            ("catalogue", State.NOT_LOOKED_AT),
            ("issuers", State.NOT_LOOKED_AT),
        ]
        assert wrong[0][2].startswith("ENCRYPTION_KEY: ")

    def test_warnings_are_told(self, deployment: Deployment) -> None:
        deployment.environ["GLOBAL_FALBACK"] = "deny"
        deployment.only("settings", State.WARNING, "did you mean GLOBAL_FALLBACK?")


class TestDatabase:
    @pytest.mark.parametrize(
        "url",
        [
            pytest.param("postgresql://keyledger@127.0.0.1:9/keyledger", id="no one there"),
            pytest.param("{}_not_there", id="no such database"),
        ],
    )
    def test_one_that_cannot_be_reached_is_a_fault_and_the_rest_is_not_looked_at(
        self, deployment: Deployment, url: str
    ) -> None:
        path, _, query = deployment.environ["DATABASE_URL"].partition("?")
        deployment.environ["DATABASE_URL"] = url.format(path) + (f"?{query}" if "{}" in url else "")
        states = {(subject, state) for subject, state, _ in deployment.wrong()}
        assert states == {
            ("database", State.FAULT),
            *((one, State.NOT_LOOKED_AT) for one in ("pooler", "encryption keys", "anchors", "endpoints", "clock")),
            ("peers", State.NOT_LOOKED_AT),
        }

    def test_an_address_that_is_none_is_not_tried(self, deployment: Deployment) -> None:
        deployment.environ["DATABASE_URL"] = "mysql+driver://x"
        assert ("database", State.NOT_LOOKED_AT, "DATABASE_URL is invalid") in deployment.wrong()

    def test_an_embedded_server_that_does_not_run_is_left_alone(self, deployment: Deployment) -> None:
        del deployment.environ["DATABASE_URL"]
        states = {subject: state for subject, state, _ in deployment.wrong()}
        assert states["database"] is State.NOT_LOOKED_AT
        assert embedded_postgres.status(deployment.folder / "data") == "absent"

    def test_a_schema_that_is_behind_is_a_warning(self, deployment: Deployment) -> None:
        deployment.administer("DELETE FROM keyledger_schema WHERE version > 1")
        assert ("database", State.WARNING) in {(subject, state) for subject, state, _ in deployment.wrong()}

    def test_a_schema_of_a_newer_program_is_a_fault(self, deployment: Deployment) -> None:
        deployment.administer("INSERT INTO keyledger_schema (version) VALUES (99)")
        deployment.only("database", State.FAULT, "a newer release of KeyLedger")

    def test_a_right_that_is_missing_is_named(self, deployment: Deployment) -> None:
        with closing(psycopg.connect(deployment.store.url, autocommit=True)) as database:
            name = f"doctor_{os.urandom(4).hex()}"
            role = sql.Identifier(name)
            database.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            try:
                most = sql.SQL("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {}")
                database.execute(most.format(role))
                url = psycopg.conninfo.make_conninfo(deployment.store.url, user=name)
                deployment.environ["DATABASE_URL"] = url
                deployment.only("database", State.FAULT, "lacks privileges: ")
            finally:
                database.execute(sql.SQL("DROP OWNED BY {}").format(role))
                database.execute(sql.SQL("DROP ROLE {}").format(role))

    def test_a_log_whose_trigger_is_off_is_a_fault(self, deployment: Deployment) -> None:
        deployment.administer("ALTER TABLE keyledger_events DISABLE TRIGGER keyledger_events_append_only")
        deployment.only("database", State.FAULT, "keyledger_events is not protected against changes")


class TestPooler:
    @pytest.mark.pooler
    def test_one_without_a_way_past_it_is_a_warning(self, deployment: Deployment) -> None:
        with pooled(deployment.store.url, "pool_mode = transaction") as between:
            deployment.environ["DATABASE_URL"] = between.url
            deployment.only("pooler", State.WARNING, "no DATABASE_ADMIN_URL bypasses it")
            deployment.environ["DATABASE_ADMIN_URL"] = deployment.store.url
            assert deployment.wrong() == []

    def test_a_way_past_it_to_another_database_is_a_fault(
        self, deployment: Deployment, empty_database_url: str
    ) -> None:
        deployment.environ["DATABASE_ADMIN_URL"] = empty_database_url
        deployment.only("pooler", State.FAULT, "leads to another database")


class TestEncryptionKeys:
    def test_a_key_that_live_credentials_need_is_missing(self, deployment: Deployment) -> None:
        needed = Keyring(ENCRYPTION_KEY).primary_id
        deployment.environ["ENCRYPTION_KEY"] = OTHER_ENCRYPTION_KEY.reveal()
        deployment.only("encryption keys", State.FAULT, f"{needed} is not configured, but 1 live credentials need it")

    def test_one_that_is_given_up_is_a_warning(self, deployment: Deployment) -> None:
        deployment.environ |= {"ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal(), "ALLOW_UNREADABLE_CREDENTIALS": "true"}
        deployment.only("encryption keys", State.WARNING, "is not configured")

    def test_a_previous_key_that_nothing_needs_is_left_over(self, deployment: Deployment) -> None:
        deployment.environ["ENCRYPTION_KEY_PREVIOUS"] = OTHER_ENCRYPTION_KEY.reveal()
        left = Keyring(OTHER_ENCRYPTION_KEY).primary_id
        deployment.only("encryption keys", State.WARNING, f"{left} is configured as a previous key")


class TestAnchors:
    def test_one_that_cannot_be_read_is_a_fault(self, deployment: Deployment) -> None:
        (deployment.folder / "data" / "log-anchor.json").write_text("[1]")
        deployment.only("anchors", State.FAULT, "cannot be read")

    def test_one_that_is_missing_is_a_warning(self, deployment: Deployment) -> None:
        (deployment.folder / "data" / "log-anchor.json").unlink()
        deployment.only("anchors", State.WARNING, "has no anchor of this log yet")

    def test_a_log_that_lost_its_end_is_a_fault(self, deployment: Deployment) -> None:
        deployment.store.set(TENANT, "mistral", KEY)
        AnchorFile(deployment.folder / "data").replace(look(deployment.store.pool, []).now)
        deployment.administer(
            "ALTER TABLE keyledger_events DISABLE TRIGGER ALL",
            "DELETE FROM keyledger_events WHERE notification_id = 2",
            "ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER keyledger_events_append_only",
        )
        deployment.only("anchors", State.FAULT, "the log ends at position 1")

    def test_a_checkpoint_that_is_none_is_a_fault(self, deployment: Deployment) -> None:
        file = CheckpointFile(deployment.folder / "data")
        file.path.parent.mkdir()
        file.path.write_text("nothing")
        deployment.only("anchors", State.FAULT, "cannot be read")


class TestCatalogue:
    @pytest.mark.parametrize("content", [None, "completion_models: 7\n", ": :"], ids=["missing", "faulty", "no YAML"])
    def test_a_faulty_one_is_a_fault(self, deployment: Deployment, content: str | None) -> None:
        file = deployment.folder / "ai_models.yml"
        file.unlink() if content is None else file.write_text(content)
        deployment.only("catalogue", State.FAULT, "ai_models.yml: ")

    def test_a_model_that_is_left_out_is_a_warning(self, deployment: Deployment) -> None:
        left_out = "  - {name: other, family: unheard, litellm_model_name: unheard/other}\nembedding_models: []\n"
        file = deployment.folder / "ai_models.yml"
        file.write_text(CATALOGUE.replace("embedding_models: []\n", left_out))
        deployment.only("catalogue", State.WARNING, "other is left out (line 3)")

    def test_one_that_comes_with_the_program_serves_where_there_is_none(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (deployment.folder / "empty").mkdir()
        monkeypatch.chdir(deployment.folder / "empty")
        del deployment.environ["AI_MODELS_FILE"]
        said = "AI_MODELS_FILE: there is no ai_models.yml in this folder; the packaged catalogue is used"
        assert ("settings", State.WARNING, said) in deployment.wrong()


class TestEndpoints:
    def test_a_host_that_cannot_be_resolved_is_named_without_its_path(self, deployment: Deployment) -> None:
        config = CredentialConfig(endpoint="https://nowhere.invalid/of-the-tenant")
        deployment.store.set(TENANT, "vllm", KEY, config)
        deployment.store.follow()
        deployment.only("endpoints", State.WARNING, "nowhere.invalid cannot be resolved from this machine")

    def test_one_of_the_settings_is_named_too(self, deployment: Deployment) -> None:
        deployment.environ["VLLM_MODEL_URL"] = "http://not-here.invalid:8000"
        deployment.only("endpoints", State.WARNING, "not-here.invalid cannot be resolved")

    def test_those_that_can_be_resolved_are_counted(self, deployment: Deployment) -> None:
        for host in ("127.0.0.1", "localhost"):
            deployment.store.set(TENANT, "vllm", KEY, CredentialConfig(endpoint=f"http://{host}:8000"))
        deployment.store.follow()
        assert "every host can be resolved from this machine (1)" in [one.said for one in deployment.examine()]

    def test_more_than_are_looked_up_are_counted(self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(endpoints, "AT_MOST", 1)
        for provider, host in (("vllm", "127.0.0.1"), ("openai", "127.0.0.2")):
            deployment.store.set(TENANT, provider, KEY, CredentialConfig(endpoint=f"http://{host}"))
        deployment.store.follow()
        assert deployment.wrong() == [("endpoints", State.WARNING, "1 more hosts were not looked up")]


def test_an_issuer_whose_keys_cannot_be_read_is_named_with_the_reason(deployment: Deployment) -> None:
    rules = "rules: [{claims: {sub: a}, role: auditor}]"
    with token_issuer() as issuer:
        file = deployment.folder / "identity.yml"
        file.write_text(f"issuers:\n- {{name: ci, url: '{issuer.url}', audience: keyledger, {rules}}}\n")
        file.chmod(0o644)
        deployment.environ["IDENTITY_FILE"] = str(file)
        assert "every trusted issuer answers with its keys (1)" in [one.said for one in deployment.examine()]
        issuer.answers["/keys"] = Answer(b"{}", 500)
        deployment.only("issuers", State.FAULT, "the keys of the issuer ci cannot be read (status-500)")
        people = "people: {rules: [{claims: {sub: a}, role: auditor}]}\n"
        file.write_text(people)
        deployment.environ |= {"OIDC_ISSUER": issuer.url, "OIDC_CLIENT_ID": "k", "OIDC_CLIENT_SECRET": SUPER_KEY}
        deployment.environ["OIDC_REDIRECT_URL"] = "https://k.example/auth/callback"
        deployment.only("issuers", State.FAULT, "the keys of the issuer OIDC_ISSUER cannot be read (status-500)")
        del issuer.answers["/keys"]
        file.chmod(0o666)
        deployment.only("file modes", State.FAULT, "identity.yml (IDENTITY_FILE) can be written by other accounts")


class TestClock:
    def test_a_machine_whose_clock_is_wrong_is_told_by_how_much(self, deployment: Deployment) -> None:
        deployment.changes["clock"] = lambda: datetime.now(UTC) + timedelta(hours=1)
        deployment.only("clock", State.WARNING, "are 3600 s apart")

    def test_times_of_the_log_that_go_back_are_told_with_their_position(self, deployment: Deployment) -> None:
        deployment.store.set(TENANT, "mistral", KEY)
        deployment.store.follow()
        AnchorFile(deployment.folder / "data").replace(look(deployment.store.pool, []).now)
        deployment.administer("UPDATE audit_trail SET recorded_at = recorded_at - interval '1 hour' WHERE position = 2")
        deployment.only("clock", State.WARNING, "the last at position 2")


class TestDisk:
    @pytest.mark.parametrize(("limit", "state"), [("LITTLE", State.WARNING), ("TOO_LITTLE", State.FAULT)])
    def test_little_room_is_told(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, limit: str, state: State
    ) -> None:
        monkeypatch.setattr(disk, limit, 1 << 62)
        deployment.only("disk", state, "GiB are free for DATA_DIR")

    def test_a_file_in_the_place_of_the_folder_is_a_fault(self, deployment: Deployment) -> None:
        file = deployment.folder / "file"
        file.write_text("")
        file.chmod(0o600)
        deployment.environ["DATA_DIR"] = str(file)
        assert ("disk", State.FAULT) in {(subject, state) for subject, state, _ in deployment.wrong()}


class TestPort:
    def test_one_that_somebody_else_has_is_a_fault(self, deployment: Deployment) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            deployment.free_port = other.getsockname()[1]
            deployment.only("port", State.FAULT, "is in use by another program")

    def test_an_address_of_another_machine_is_a_fault(self, deployment: Deployment) -> None:
        deployment.changes["host"] = "192.0.2.1"
        deployment.only("port", State.FAULT, "EADDRNOTAVAIL")

    def test_a_running_service_is_known_and_is_no_peer_that_differs(self, database_url: str, tmp_path: Path) -> None:
        settings = environment(DATABASE_URL=database_url, DATA_DIR=str(tmp_path / "data"))
        with served(database_url, settings) as url, client_of(url) as client:
            assert client.put(TENANT, "openai", api_key=KEY).status_code == 200
            port = int(url.rpartition(":")[2])
            with circumstances(settings, tmp_path / ".env", "127.0.0.1", port) as here:
                said = [one.said for one in examine(here) if one.subject in {"port", "peers"}]
        assert said[0] == f"KeyLedger answers at 127.0.0.1:{port}"
        assert said[1].startswith("every service on this database runs version ")


class TestFileModes:
    @pytest.mark.parametrize(
        ("mode", "state", "said"),
        [
            pytest.param(0o644, State.FAULT, "can be read by every account (0644)", id="everyone reads"),
            pytest.param(0o660, State.FAULT, "can be written by other accounts (0660)", id="the group writes"),
            pytest.param(0o640, State.WARNING, "can be read by its group (0640)", id="the group reads"),
        ],
    )
    def test_a_file_with_secrets_that_others_may_use_is_told(
        self, deployment: Deployment, mode: int, state: State, said: str
    ) -> None:
        (deployment.folder / ".env").chmod(mode)
        deployment.only("file modes", state, said)
        (deployment.folder / ".env").chmod(0o600)
        secret = deployment.folder / "encryption-key"
        secret.write_text(deployment.environ.pop("ENCRYPTION_KEY"))
        secret.chmod(mode)
        no_secret = str(deployment.folder / "ai_models.yml")
        deployment.environ |= {"ENCRYPTION_KEY_FILE": str(secret), "SSL_CERT_FILE": no_secret}
        deployment.only("file modes", state, f"(ENCRYPTION_KEY_FILE) {said}")

    def test_a_data_folder_that_others_may_write_to_is_a_fault(self, deployment: Deployment) -> None:
        (deployment.folder / "data").chmod(0o777)
        deployment.only("file modes", State.FAULT, "(DATA_DIR) can be written by other accounts (0777)")


class TestPeers:
    def test_a_service_of_another_version_is_named(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("keyledger.encryption.node_release.version", lambda name: "0.0.1")
            Presence(deployment.store.pool).beat(deployment.store.keyring)
        deployment.only("peers", State.WARNING, "runs 0.0.1+form.1")

    def test_one_with_other_approvals_is_named(self, deployment: Deployment) -> None:
        deployment.environ["APPROVALS"] = "delete,thaw"
        presence = Presence(deployment.store.pool)
        presence.approvals = {Approval.THAW}
        presence.beat(deployment.store.keyring)
        deployment.only("peers", State.WARNING, "APPROVALS names delete and thaw here, but ")
        presence.approvals = {Approval.THAW, Approval.DELETE}
        presence.beat(deployment.store.keyring)
        assert "peers" not in {subject for subject, _, _ in deployment.wrong()}

    def test_a_row_that_no_node_wrote_is_named(self, deployment: Deployment) -> None:
        deployment.administer(
            "INSERT INTO nodes (version, node_id, name, process, primary_key_id, key_ids)"
            f" VALUES ('', gen_random_uuid(), 'machine:8', '', 'k1', '{{{deployment.store.keyring.primary_id}}}')"
        )
        deployment.only("peers", State.FAULT, "has forged rows, which are ignored: machine:8")

    def test_one_that_cannot_open_what_would_be_sealed_here_is_a_fault(self, deployment: Deployment) -> None:
        Presence(deployment.store.pool).beat(Keyring(OTHER_ENCRYPTION_KEY))
        deployment.only("peers", State.FAULT, "cannot open credentials sealed here")


def test_an_embedded_server_that_runs_is_looked_at_and_goes_on(deployment: Deployment, tmp_path: Path) -> None:
    del deployment.environ["DATABASE_URL"]
    data_dir = tmp_path / "embedded"
    deployment.environ["DATA_DIR"] = str(data_dir)
    with embedded_postgres.start(data_dir, durable=False) as server:
        server.dsn()
        found = [one.said for one in deployment.examine() if one.state is State.WARNING]
        assert any(said.startswith("the schema is at version 0") for said in found)
        assert embedded_postgres.status(data_dir) == "running"
