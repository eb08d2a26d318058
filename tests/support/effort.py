"""How often the longest tests repeat: a few times in `make test`, in full in `make prove`.

The parts `suite-...` of `make prove` set the variables (`tests.prove.parts.suite`).
"""

import os

EXAMPLES = int(os.environ.get("KEYLEDGER_TEST_EXAMPLES", "25"))
"""Examples of each property that does not say how many it needs."""

KILLS = int(os.environ.get("KEYLEDGER_TEST_KILLS", "2"))
"""Times that a service is killed. A rotation starts faster and is killed twice as often."""

ROTATED = int(os.environ.get("KEYLEDGER_TEST_ROTATED", "200"))
"""Credentials of a rotation while others write and read them."""

MIXED_CALLS = int(os.environ.get("KEYLEDGER_TEST_MIXED_CALLS", "240"))
"""Calls of several tenants at a time that must share no connection to a provider."""

POOLER_CALLS = int(os.environ.get("KEYLEDGER_TEST_POOLER_CALLS", "96"))
"""Calls through PgBouncer in each of its configurations."""

CANARY_TEXTS = int(os.environ.get("KEYLEDGER_TEST_CANARY_TEXTS", "0"))
"""Generated texts with a key, besides a fixed one, that are put into every place that takes a text."""

SHARE = int(os.environ.get("KEYLEDGER_TEST_SHARE", "4"))
"""One in so many cases of the longest tables is tried, by turns, so that each row and each column is; 1 tries all."""

CONTRACT_EXAMPLES = int(os.environ.get("KEYLEDGER_TEST_CONTRACT_EXAMPLES", "1"))
"""Requests that are generated for each operation, of those that fit the document and of those that do not."""

FLOOD = int(os.environ.get("KEYLEDGER_TEST_FLOOD", "10000"))
"""Requests without a valid key in each flood."""

STRANGE_BUNDLES = int(os.environ.get("KEYLEDGER_TEST_STRANGE_BUNDLES", "16"))
"""Random bundles, most of them damaged, that verifiers of others judge as well."""

FORGERIES = int(os.environ.get("KEYLEDGER_TEST_FORGERIES", "0"))
"""Random forgeries in all, shared by the kinds, each of which is then tried at least once.

Through the public face of the service. With 0, one kind in SHARE is, by one of those who can do it.
"""

HONEST_LOGS = int(os.environ.get("KEYLEDGER_TEST_HONEST_LOGS", "2"))
"""Random honest logs that no way of noticing a forgery may accuse."""

ACCESS_STEPS = int(os.environ.get("KEYLEDGER_TEST_ACCESS_STEPS", "200"))
"""Random steps on access keys, each compared with a model."""
