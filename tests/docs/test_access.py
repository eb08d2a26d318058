"""The page on access keys: its commands run as written, and its tables are those of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.front.auth import format_named_key
from domain.access.roles import Role
from domain.access.scope import DIMENSIONS
from domain.access.token import is_token
from domain.approvals.needs import Approval
from domain.credentials.secret import Secret
from tests.docs.test_commands import Served, blocks, furnished, run, served_in, serving
from tests.support.places import REPOSITORY

PAGE = (REPOSITORY / "docs/access.md").read_text(encoding="utf-8")


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_in(furnished(tmp_path_factory.mktemp("access"), str(REPOSITORY / "ai_models.yml"))) as one:
        yield one


@pytest.mark.long
def test_the_commands_of_the_page_run_as_written(served: Served) -> None:
    create, rotate, unused, revoke, budget = blocks("docs/access.md", "For operators")
    here = f"export KEYLEDGER_URL={served.url}\n" + 'export SUPER_API_KEY=$(sed -n "s/^SUPER_API_KEY=//p" .env)\n'
    said = run(here + create, served.folder)
    assert re.search(r"billing-app +runtime +active", said)
    assert re.search(r"super +sysadmin +in the settings", said)
    assert "gpt-4o*" in said
    token = (served.folder / "token.txt").read_text().strip()
    assert is_token(token.encode())
    assert token not in said
    run(here + rotate, served.folder)
    assert is_token((served.folder / "new-token.txt").read_bytes().strip())
    assert "billing-app" not in run(here + unused, served.folder)
    run(here + revoke, served.folder)
    assert re.search("billing-app +runtime +revoked", run(f"{here}.venv/bin/keyledger access list", served.folder))
    assert is_token(run(here + budget, served.folder).strip().encode())


@pytest.mark.long
def test_the_commands_on_tenants_run_as_written(served: Served) -> None:
    here = f"export KEYLEDGER_URL={served.url}\n" + 'export SUPER_API_KEY=$(sed -n "s/^SUPER_API_KEY=//p" .env)\n'
    freeze, policy = blocks("docs/access.md", "Tenants")
    (admin,) = blocks("docs/access.md", "For tenants' admins")
    tenant = freeze.splitlines()[0] + "\n"
    said = run(here + freeze, served.folder)
    assert re.search("frozen +yes", said)
    assert re.search("labels +plan=gold", said)
    limited = run(here + tenant + policy, served.folder)
    assert re.search("providers +mistral openai", limited)
    assert "Acme Health" in limited
    said = run(here + tenant + admin, served.folder)
    assert '"masked_key":"...6789"' in said
    assert '"action":"set"' in said


@pytest.mark.long
def test_the_commands_on_four_eyes_run_as_written(tmp_path: Path) -> None:
    folder = furnished(tmp_path)
    run(blocks("README.md", "A service of your own")[0], folder)
    key = "key-of-a-second-person-0123456789"
    (folder / "second-person.txt").write_text(key)
    named = format_named_key("second", Role.SYSADMIN, Secret(key))
    with (folder / ".env").open("a", encoding="utf-8") as settings:
        settings.write(f"APPROVALS=delete\nAPI_KEYS={named}\n")
    with serving(folder) as port:
        here = f"export KEYLEDGER_URL=http://127.0.0.1:{port}\n"
        (commands,) = blocks("docs/access.md", "Four eyes")
        said = run(here + commands, folder)
        assert "CredentialDeleted" in said
        assert "approved" in run(f"{here}.venv/bin/keyledger proposals list", folder)


def test_the_page_lists_what_can_need_a_second_person() -> None:
    table = PAGE.split("## Four eyes")[1].split("Such a command")[0]
    assert re.findall(r"^\| `([a-z-]+)` \| ", table, re.MULTILINE) == [one.value for one in Approval]


def test_the_page_lists_every_role_and_every_part_of_a_scope() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \| ", PAGE.split("### Roles")[1].split("###")[0], re.MULTILINE) == [
        "sysadmin",
        "operator",
        "auditor",
        "tenant-admin",
        "runtime",
    ]
    assert len(Role) == 5
    scope = PAGE.split("### Scope")[1].split("\n## ")[0]
    assert set(DIMENSIONS) <= set(re.findall("`([a-z_]+)`", scope))
