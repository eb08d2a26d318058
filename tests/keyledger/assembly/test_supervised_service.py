"""A service on the embedded server gets over its end, and says why while there is no server."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyledger import embedded_postgres
from keyledger.assembly.open_ledger import supervision_of
from tests.support import memory
from tests.support.embedded_server import kill_the_server, starts_of_the_server
from tests.support.service import DIRECT_MODELS, Client, client_of, environment, served

TENANT = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=os.environ.get(memory.FOLDER)) as folder:
        yield Path(folder)


def put(client: Client, key: str) -> int:
    return client.put(TENANT, "openai", api_key=key).status_code


def check_of_the_database(client: Client) -> str:
    text: str = client.http.get("/readyz").json()["checks"]["database"]["text"]
    return text


def test_after_its_server_was_killed_a_service_writes_again_by_itself(data_dir: Path) -> None:
    settings = environment(DATA_DIR=str(data_dir), AI_MODELS_FILE=DIRECT_MODELS)
    with (
        embedded_postgres.start(data_dir) as server,
        served(server.dsn(), settings) as url,
        client_of(url) as client,
    ):
        assert put(client, "sk-live-before-0001") == 200
        kill_the_server(data_dir)
        answers = {put(client, "sk-live-after-00002")}
        while 200 not in answers:
            answers.add(put(client, "sk-live-after-00002"))
        assert answers <= {200, 503}
        assert starts_of_the_server(data_dir) == 2
        embedded_postgres.stop(data_dir)
        while "keyledger database stop" not in check_of_the_database(client):
            assert put(client, "sk-live-stopped-003") == 503
        assert embedded_postgres.status(data_dir) == "stopped"
        with embedded_postgres.start(data_dir):
            while put(client, "sk-live-again-00004") != 200:
                assert client.http.get("/livez").status_code == 200
        assert check_of_the_database(client) == "answers"


def test_only_a_service_on_the_embedded_server_of_its_own_folder_looks_after_it(data_dir: Path, tmp_path: Path) -> None:
    with embedded_postgres.start(data_dir, durable=False) as server:
        assert supervision_of(server.dsn("another"), data_dir) is not None
        assert supervision_of(server.dsn(), tmp_path) is None
    assert supervision_of("host=db1,db2 dbname=keyledger", data_dir) is None
    assert supervision_of("postgresql://app@db/keyledger", data_dir) is None
    assert supervision_of("host=/var/run/postgresql dbname=keyledger", data_dir) is None
