"""The pooler's settings that the document shows, with a real pooler."""

import re
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.places import REPOSITORY
from tests.support.pooler import configured, server_of, wait_for
from tests.support.ports import free_port
from tests.support.service import client_of, environment, served

TENANT = str(uuid4())


@pytest.mark.pooler
def test_the_settings_of_the_document_serve(database_url: str) -> None:
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```ini\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    port = free_port()
    name = conninfo_to_dict(database_url)["dbname"]
    here = shown.replace("keyledger = host=127.0.0.1 port=5432", f"{name} = {server_of(database_url)}")
    here = here.replace("6432", str(port))
    assert here.count(str(name)) > shown.count(str(name))
    url = f"postgresql://keyledger_app:secret@127.0.0.1:{port}/{name}"
    with configured(f"{here}\nunix_socket_dir =\n", {"keyledger_app": "secret"}, database_url):
        wait_for(url)
        with served(url, environment(DATABASE_URL=url)) as service, client_of(service) as client:
            for number in range(20):
                assert client.put(TENANT, "openai", api_key=f"sk-live-{number:08}").status_code == 200
                assert client.http.get("/readyz").json()["checks"]["database"]["ok"]
