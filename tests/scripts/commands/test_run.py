"""`run`, end to end: every claim of the tour holds, on real parts, whatever the environment says."""

import json
import re
import stat

import httpx
import pytest

from keyledger.embedded_postgres import status
from scripts.demo.tour import STEPS
from scripts.terminal.exits import Exit
from tests.scripts.process import running

CANARY = "sk-canary-4f9d1e7ab2-of-the-person-who-runs-it"
HOSTILE = {
    "OPENAI_API_KEY": CANARY,
    "OPENAI_API_BASE": "http://127.0.0.1:9/v1",
    "MISTRAL_API_KEY": CANARY,
    "ENCRYPTION_KEY": "not a key",
    "DATABASE_URL": "postgresql://127.0.0.1:9/nobody",
    "TENANT_CREDENTIALS_ENABLED": "perhaps",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "AI_MODELS_FILE": "/absent",
}
KEY_IN_CLEAR = re.compile(r"sk-[a-z-]+-[0-9a-f]{32}")


@pytest.mark.long
def test_the_tour_holds_twice_and_the_demo_serves_until_it_is_told_to_end(tmp_path):
    with running(tmp_path, "run", "--once", "--json", env=HOSTILE) as first:
        assert first.end() == Exit.OK, first.told
    report = json.loads("".join(first.said))
    assert report["ok"] is True
    assert [step["claim"] for step in report["steps"]] == [step.claim for step in STEPS]
    assert all(step["holds"] and step["rows"] for step in report["steps"])
    assert not KEY_IN_CLEAR.search(str(first.said + first.told))
    assert CANARY not in str(first.said + first.told)
    assert status(tmp_path / ".data") == "stopped"
    key_file = tmp_path / ".data" / "demo" / "encryption-key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key = key_file.read_text()

    with running(tmp_path, "run", "--port", "0") as second:
        url = second.wait_for(r"The demo is running at +(http://127\.0\.0\.1:\d+)")
        admin_key = second.wait_for(r"One-time admin key: +(\S+)")
        tenant = second.wait_for(r"keyledger credentials list (\S+)")
        with httpx.Client(base_url=url, headers={"X-API-Key": admin_key}, timeout=60, trust_env=False) as http:
            listed = http.get(f"/api/v1/sysadmin/tenants/{tenant}/credentials").json()["credentials"]
            chat = {"model": "gpt-demo", "messages": [{"role": "user", "content": "hello"}]}
            answer = http.post(f"/api/v1/tenants/{tenant}/openai/v1/chat/completions", json=chat)
        assert len(listed) == 5
        assert answer.status_code == 200
        assert second.terminate() == Exit.OK, second.told
    assert key_file.read_text() == key, "the demo's database stays readable"
    text = "".join(second.said)
    assert all(step.claim in text for step in STEPS)
    assert not KEY_IN_CLEAR.search(text)
    assert key not in text
    assert status(tmp_path / ".data") == "stopped"
