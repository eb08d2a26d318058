"""How often the longest tests repeat: a few times in `make test`, in full in `make prove`, which sets the variables."""

import os

KILLS = int(os.environ.get("KEYLEDGER_TEST_KILLS", "5"))
"""Times that a service is killed. A rotation starts faster and is killed twice as often."""

POOLER_CALLS = int(os.environ.get("KEYLEDGER_TEST_POOLER_CALLS", "96"))
"""Calls through PgBouncer in each of its configurations."""

CONTRACT_EXAMPLES = int(os.environ.get("KEYLEDGER_TEST_CONTRACT_EXAMPLES", "6"))
"""Requests that are generated for each operation, of those that fit the document and of those that do not."""

FLOOD = int(os.environ.get("KEYLEDGER_TEST_FLOOD", "10000"))
"""Requests without a valid key in each flood."""
