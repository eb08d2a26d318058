"""Checkpoints that a service signs or refuses to sign, and crashes between, on a real database and a real folder."""

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from api.front.auth import format_named_key
from domain.access.roles import Role
from domain.credentials.secret import Secret
from domain.errors import CheckpointRefusedError, ErrorCode
from domain.events.event import utc_now
from domain.proofs.checkpoint import parse_checkpoint
from domain.proofs.merkle_tree import leaf_hash, verify_consistency, verify_inclusion
from domain.proofs.signed_note import SignedNote, open_note, parse_note
from keyledger.log.background_catch_up import BackgroundCatchUp
from keyledger.proofs.checkpoint_file import FOLDER
from keyledger.proofs.checkpoint_signing import Transparency
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key, verifier_of
from keyledger.proofs.signing_loop import SigningLoop
from tests.support.errors import raises
from tests.support.evidence import signed
from tests.support.merkle import root_of
from tests.support.postgres import TemplatedServer
from tests.support.service import Client, client_of, environment, served
from tests.support.store import LEDGER_ID, Store, open_store, unchecked

TENANT = str(uuid4())
KEY = generate_signing_key("log.test")
SIGNER = LogSigner(KEY)
OWN = SIGNER.of_ledger(LEDGER_ID)
SIZES = (1, 2, 3, 255, 256, 257, 300)


def transparency(store: Store, folder: Path, signer: LogSigner | None = SIGNER) -> Transparency:
    watch, reader = unchecked(store.pool), store.people.reader
    return Transparency(store.pool, store.url, store.tree_follower, watch, signer, folder, utc_now, reader)


def grow(store: Store, upto: int) -> None:
    for number in range(len(store.audit(limit=10_000)), upto):
        store.set(TENANT, "openai", f"sk-live-{number:010}")


def kept(folder: Path) -> Path:
    """The file of the last checkpoint."""
    (file,) = (path for path in (folder / FOLDER).iterdir() if path.suffix != ".lock")
    return file


def size_of(file: Path) -> int:
    return parse_checkpoint(parse_note(file.read_bytes()).text).size


def cut(store: Store, position: int, *, tree: bool) -> None:
    """The remains after restoring an older backup: less of the log, and of the tree where that is in the backup too."""
    with store.superuser() as database:
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        database.execute("DELETE FROM keyledger_events WHERE notification_id > %s", [position])
        database.execute("ALTER TABLE keyledger_events ENABLE TRIGGER ALL")
        if tree:
            database.execute("TRUNCATE transparency_log")
            database.execute("UPDATE projection_positions SET position = 0 WHERE projection = 'transparency_log'")


def test_a_checkpoint_covers_every_write_that_was_acknowledged_before(store: Store, tmp_path: Path) -> None:
    log = transparency(store, tmp_path)
    for size in range(1, 5):
        store.set(TENANT, "openai", f"sk-live-{size:010}")
        made = log.checkpoint()
        assert made.size == size
        note, _ = open_note(made.note.encode(), [verifier_of(OWN.vkey)])
        assert parse_checkpoint(note.text).root == made.root
        assert kept(tmp_path).read_bytes() == made.note.encode(), "it is on disk before anyone gets it"


def test_a_log_that_did_not_grow_gets_the_same_checkpoint_from_every_process(store: Store, tmp_path: Path) -> None:
    grow(store, 3)
    first = transparency(store, tmp_path).checkpoint()
    again = transparency(store, tmp_path).checkpoint()
    assert again.note == first.note


class TestNothingIsSigned:
    """Each with what the message says; the kept checkpoint stays as it was."""

    @pytest.fixture
    def before(self, store: Store, tmp_path: Path) -> bytes:
        grow(store, 5)
        transparency(store, tmp_path).checkpoint()
        return kept(tmp_path).read_bytes()

    def refused(self, store: Store, folder: Path, meaning: str, signer: LogSigner = SIGNER) -> None:
        with pytest.raises(CheckpointRefusedError, match=meaning):
            transparency(store, folder, signer).checkpoint()

    @pytest.mark.parametrize("tree", [True, False], ids=["with its tree", "alongside its tree"])
    def test_when_the_log_went_back(self, store: Store, tmp_path: Path, before: bytes, tree: bool) -> None:
        cut(store, 3, tree=tree)
        self.refused(store, tmp_path, "rolled back")
        assert kept(tmp_path).read_bytes() == before

    def test_when_the_log_went_back_and_grew_past_it(self, store: Store, tmp_path: Path, before: bytes) -> None:
        cut(store, 3, tree=True)
        for number in range(4):  # another stream: the versions of the first one are not those of its row any more
            store.set(str(uuid4()), "openai", f"sk-else-{number:010}")
        self.refused(store, tmp_path, "the first 5 entries are not those that were signed")
        assert kept(tmp_path).read_bytes() == before

    def test_when_the_tree_was_rewritten(self, store: Store, tmp_path: Path, before: bytes) -> None:
        with store.superuser() as database:
            database.execute("UPDATE transparency_log SET hashes = set_byte(hashes, 7, get_byte(hashes, 7) # 1)")
        grow(store, 6)
        self.refused(store, tmp_path, "the log was rewritten")
        assert kept(tmp_path).read_bytes() == before

    def test_when_the_tree_is_damaged(self, store: Store, tmp_path: Path, before: bytes) -> None:
        with store.superuser() as database:
            database.execute("DELETE FROM transparency_log")
        self.refused(store, tmp_path, "the log was rewritten")

    def test_beside_a_checkpoint_of_another_log_under_the_same_name(self, store: Store, tmp_path: Path) -> None:
        grow(store, 2)
        transparency(store, tmp_path).checkpoint()
        kept(tmp_path).write_bytes(signed([b"one", b"two"], OWN))
        self.refused(store, tmp_path, "the log was rewritten")

    @pytest.mark.parametrize(
        ("name", "meaning"), [("log.test", "not signed with AUDIT_SIGNING_KEY"), ("other", "log was rewritten")]
    )
    def test_beside_a_checkpoint_of_another_key(
        self, store: Store, tmp_path: Path, before: bytes, name: str, meaning: str
    ) -> None:
        other = LogSigner(generate_signing_key(name)).of_ledger(LEDGER_ID)
        kept(tmp_path).write_bytes(signed([b"one"], other))
        self.refused(store, tmp_path, meaning)

    @pytest.mark.parametrize("signer", [SIGNER, SIGNER.of_ledger(str(uuid4()))], ids=["no ledger", "another"])
    def test_after_a_checkpoint_of_another_ledger(
        self, store: Store, tmp_path: Path, before: bytes, signer: LogSigner
    ) -> None:
        other = signed([b"one"], signer)
        kept(tmp_path).write_bytes(other)
        self.refused(store, tmp_path, "was signed for another ledger")
        assert kept(tmp_path).read_bytes() == other

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", b"log.test\n5\n", b"\xff"])
    def test_beside_a_file_that_is_no_checkpoint(
        self, store: Store, tmp_path: Path, before: bytes, content: bytes
    ) -> None:
        kept(tmp_path).write_bytes(content)
        self.refused(store, tmp_path, "cannot be read")
        assert kept(tmp_path).read_bytes() == content

    def test_where_it_cannot_be_kept(self, store: Store, tmp_path: Path, before: bytes) -> None:
        """A file in the place of the folder is refused to the superuser, too, unlike a folder's mode."""
        (tmp_path / "data").write_bytes(b"")
        self.refused(store, tmp_path / "data", "DATA_DIR is not writable")

    @pytest.mark.parametrize("kept_there", [None, b"no checkpoint"], ids=["cannot be kept", "cannot be read"])
    def test_a_node_stays_ready_only_if_the_log_is_right(
        self, store: Store, tmp_path: Path, before: bytes, kept_there: bytes | None
    ) -> None:
        folder = tmp_path if kept_there else tmp_path / "data"
        (kept(tmp_path) if kept_there else folder).write_bytes(kept_there or b"")
        tree = BackgroundCatchUp(store.tree_follower, "transparency_log")
        loop = SigningLoop(transparency(store, folder), tree, utc_now, CollectorRegistry())
        loop.sign()
        assert loop.check().ok is (kept_there is None)
        assert "No checkpoint was signed" in loop.check().text

    def test_without_a_key(self, store: Store, tmp_path: Path) -> None:
        with raises(ErrorCode.SIGNING_OFF):
            transparency(store, tmp_path, None).checkpoint()
        assert not (tmp_path / FOLDER).exists()


def test_a_key_under_another_name_goes_on_from_the_checkpoint_of_the_former(store: Store, tmp_path: Path) -> None:
    grow(store, 3)
    transparency(store, tmp_path).checkpoint()
    grow(store, 4)
    successor = LogSigner(generate_signing_key("log.next"))
    assert transparency(store, tmp_path, successor).checkpoint().size == 4
    assert parse_note(kept(tmp_path).read_bytes()).text.startswith(f"log.next/{LEDGER_ID}\n4\n")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_the_replacement_leaves_a_checkpoint_from_which_signing_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    grow(store, 2)
    transparency(store, tmp_path).checkpoint()
    grow(store, 4)

    class Crash(BaseException):
        pass

    whole = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if moment == "after":
            whole(self, target)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(Crash):
            transparency(store, tmp_path).checkpoint()
    assert size_of(kept(tmp_path)) == (2 if moment == "before" else 4)
    assert transparency(store, tmp_path).checkpoint().size == 4
    assert [path.name for path in (tmp_path / FOLDER).iterdir() if ".lock" not in path.name] == [kept(tmp_path).name]


def _sign_often(url: str, folder: Path, key: str, times: int) -> list[int]:
    with open_store(url) as store:
        log = transparency(store, folder, LogSigner(Secret(key)))
        return [log.checkpoint().size for _ in range(times)]


def test_processes_that_sign_into_one_folder_never_step_back(store: Store, tmp_path: Path) -> None:
    grow(store, 1)
    work = (store.url, tmp_path, KEY.reveal(), 15)
    with multiprocessing.get_context("spawn").Pool(2) as processes, ThreadPoolExecutor(1) as writer:
        signing = [processes.apply_async(_sign_often, work) for _ in range(2)]
        writing = writer.submit(grow, store, 30)
        seen: list[int] = []
        while not all(one.ready() for one in signing):
            signing[0].wait(0.002)
            with suppress(ValueError):  # nothing is kept yet
                seen.append(size_of(kept(tmp_path)) if (tmp_path / FOLDER).exists() else 0)
        for one in signing:
            sizes = one.get()
            assert sizes == sorted(sizes)
        writing.result()
    assert seen == sorted(seen)
    assert transparency(store, tmp_path).checkpoint().size == 30


def test_a_checkpoint_that_is_late_does_not_replace_a_larger_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process is stopped between computing and keeping; the other has to wait for it, and continues from it."""
    grow(store, 2)
    late, early = transparency(store, tmp_path), transparency(store, tmp_path)
    order: list[int] = []
    with ThreadPoolExecutor(1) as other:
        started: list[Future[None]] = []
        whole = SignedNote.signed_by

        def stopped(self: SignedNote, signer: LogSigner) -> SignedNote:
            if not started:
                grow(store, 3)
                started.append(other.submit(lambda: order.append(early.checkpoint().size)))
                wait(started, 0.3)  # long enough to overtake, were it not kept out
            return whole(self, signer)

        monkeypatch.setattr(SignedNote, "signed_by", stopped)
        order.append(late.checkpoint().size)
        started[0].result()
    assert order == [2, 3]
    assert size_of(kept(tmp_path)) == 3


@pytest.fixture(scope="module")
def tall(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transparency]:
    """A log that fills more than one tile."""
    with postgres_server.fresh_database() as url, open_store(url) as store:
        for number in range(max(SIZES)):
            store.set(TENANT, "openai", f"sk-live-{number:010}")
        yield transparency(store, tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("size", SIZES)
def test_every_proof_of_inclusion_verifies(tall: Transparency, size: int) -> None:
    for position in sorted({1, 2, size // 2 + 1, size}.intersection(range(1, size + 1))):
        found = tall.inclusion(position, size)
        assert found.leaf_hash == leaf_hash(found.leaf.encode())
        verify_inclusion(position - 1, size, found.leaf_hash, tuple(found.proof), found.root)


@pytest.mark.parametrize("size", SIZES)
def test_every_proof_of_consistency_verifies(tall: Transparency, size: int) -> None:
    for older in sorted({0, 1, size // 2, size}):
        found = tall.consistency(older, size)
        verify_consistency(older, size, tuple(found.proof), found.older_root, found.root)


def test_a_root_is_that_of_the_leaves_of_the_evidence(tall: Transparency) -> None:
    leaves = list(tall.evidence(257, None))
    assert [leaf.position for leaf in leaves] == list(range(1, 258))
    hashes = [leaf_hash(leaf.leaf.encode()) for leaf in leaves]
    assert [leaf.stored_hash for leaf in leaves] == hashes
    assert tall.inclusion(1, 257).root == root_of(hashes)


def test_what_is_beyond_the_log_has_no_proof(tall: Transparency) -> None:
    for ask in (lambda: tall.inclusion(301, None), lambda: tall.inclusion(1, 301), lambda: tall.consistency(1, 301)):
        with raises(ErrorCode.NO_SUCH_PROOF):
            ask()
    with raises(ErrorCode.NO_SUCH_PROOF):
        tall.consistency(300, 299)


@contextmanager
def signing(database_url: str, folder: Path) -> Iterator[Client]:
    settings = environment(AUDIT_SIGNING_KEY=KEY.reveal(), DATA_DIR=str(folder))
    with served(database_url, settings) as url, client_of(url) as client:
        yield client


def check_of(client: Client) -> dict[str, object]:
    found = client.http.get("/readyz").json()["checks"]["transparency_log"]
    assert isinstance(found, dict)
    return found


def test_readiness_and_metrics_tell_the_age_of_the_last_checkpoint(database_url: str, tmp_path: Path) -> None:
    with signing(database_url, tmp_path) as client:
        assert client.http.get("/api/v1/audit/checkpoint").status_code == 200
        check = check_of(client)
        metrics = client.http.get("/metrics").text
    assert check["ok"] is True
    assert re.search(r"last checkpoint \d+ s ago$", str(check["text"]))
    found = re.search(r"^keyledger_audit_checkpoint_age_seconds (\S+)$", metrics, re.MULTILINE)
    assert found is not None
    assert 0 <= float(found[1]) < 600


def test_without_a_key_the_service_is_ready_and_says_that_nothing_is_signed(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        answer = client.http.get("/api/v1/audit/checkpoint")
        assert (answer.status_code, answer.json()["code"]) == (404, "signing-off")
        assert client.http.get("/api/v1/audit/evidence").json()["code"] == "signing-off"
        check = check_of(client)
        assert check["ok"] is True
        assert "not signed: AUDIT_SIGNING_KEY is not set" in str(check["text"])
        assert "keyledger_audit_checkpoint_age_seconds -1.0" in client.http.get("/metrics").text


def test_a_service_that_refuses_to_sign_is_not_ready_and_says_why(database_url: str, tmp_path: Path) -> None:
    with signing(database_url, tmp_path) as client:
        client.http.get("/api/v1/audit/checkpoint")
        kept(tmp_path).write_bytes(b"no checkpoint")
        answer = client.http.get("/api/v1/audit/checkpoint")
        assert (answer.status_code, answer.json()["code"]) == (500, "checkpoint-refused")
        assert "cannot be read" in answer.json()["detail"]
        while check_of(client)["ok"]:  # until the background has met it
            pass
        assert client.http.get("/readyz").status_code == 503
        assert "cannot be read" in str(check_of(client)["text"])
        kept(tmp_path).unlink()
        while not check_of(client)["ok"]:  # it recovers, once an operator looked into it
            pass


def test_an_orderly_end_leaves_a_checkpoint_over_everything(database_url: str, tmp_path: Path) -> None:
    with signing(database_url, tmp_path) as client:
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
    with open_store(database_url) as store:
        assert size_of(kept(tmp_path)) == len(store.audit(limit=1000))


def test_the_file_is_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    grow(store, 1)
    transparency(store, tmp_path).checkpoint()
    assert kept(tmp_path).stat().st_mode & 0o077 == 0


def test_an_auditor_reads_everything_and_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """Over every operation of the OpenAPI document: what reads the audit is answered, what changes is refused."""
    secret = Secret("auditor-key-0123456789")
    line = format_named_key("ada", Role.AUDITOR, secret)
    settings = environment(AUDIT_SIGNING_KEY=KEY.reveal(), DATA_DIR=str(tmp_path), API_KEYS=line)
    allowed, refused = set[str](), set[str]()
    with (
        served(database_url, settings) as url,
        client_of(url) as admin,
        client_of(url, secret.reveal()) as auditor,
    ):
        assert admin.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
        for path, operations in admin.http.get("/openapi.json").json()["paths"].items():
            if not path.startswith("/api/"):
                continue
            for method in {"get", "put", "post", "delete", "patch"} & operations.keys():
                answer = auditor.http.request(method, _filled(path), params=_WANTED.get(path))
                denied = answer.status_code == 403 and answer.json()["code"] == "forbidden"
                (refused if denied else allowed).add(f"{method.upper()} {path}")
                assert denied or method == "get", (method, path)
                if path.startswith("/api/v1/audit/"):
                    assert answer.status_code == 200, (path, answer.text)
        after = admin.http.get(f"/api/v1/sysadmin/tenants/{TENANT}/credentials").json()["credentials"]
    assert [(one["provider"], one["version"]) for one in after] == [("openai", 1)]
    assert {operation.split()[0] for operation in allowed} == {"GET"}
    assert len([operation for operation in allowed if "/api/v1/audit/" in operation]) == 9
    assert not [operation for operation in allowed if "/openai/" in operation or "/providers/" in operation]
    assert {operation.split()[0] for operation in refused} >= {"GET", "PUT", "POST", "DELETE"}


_WANTED = {
    "/api/v1/audit/export": {"format": "csv"},
    "/api/v1/audit/proof/inclusion": {"position": "1"},
    "/api/v1/audit/proof/consistency": {"from": "1"},
}


def _filled(path: str) -> str:
    named = {
        "tenant_id": TENANT,
        "provider": "openai",
        "position": "1",
        "projection": "audit_trail",
        "path": "v1/models",
    }
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: named.get(found[1], str(uuid4())), path)
