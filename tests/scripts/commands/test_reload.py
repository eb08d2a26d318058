"""`reload`: a running service reads its settings again, and the command says the outcome."""

import json

from scripts.terminal.exits import Exit
from tests.support.service import ADMIN_KEY, environment, served


def test_it_says_what_is_in_force_or_why_nothing_changed(cli, database_url):
    with served(database_url, environment()) as url:
        env = {"KEYLEDGER_URL": url, "KEYLEDGER_API_KEY": ADMIN_KEY}
        ended = cli("reload", env=env)
        assert (ended.code, ended.out) == (Exit.OK, "nothing changed\n")
        assert json.loads(cli("reload", "--json", env=env).out) == {
            "changed": [],
            "needs_restart": [],
            "warnings": [],
        }
        stranger = cli("reload", env=env | {"KEYLEDGER_API_KEY": "somebody-else-0123456789"})
        assert stranger.code == Exit.REFUSED
