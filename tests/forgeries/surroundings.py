"""Forgeries of what surrounds the log: functions, triggers, tables, and the rows that nodes leave for each other."""

from datetime import timedelta

from domain.events.event import utc_now
from tests.forgeries.kinds import APPLICATION, BOTH, SUPERUSER, Must, Where, kind
from tests.support.forger import Forger, place_of


def _function(f: Forger, name: str, body: str) -> None:
    """Replace the body of a function, keeping its arguments."""
    shape = f.one(
        "SELECT pg_get_function_arguments(oid) AS arguments, pg_get_function_result(oid) AS result FROM pg_proc"
        " WHERE oid = (%s)::regproc",
        name,
    )
    f.sql(
        f"CREATE OR REPLACE FUNCTION {name}({shape['arguments']}) RETURNS {shape['result']} LANGUAGE plpgsql"
        f" AS $forged$ {body} $forged$"
    )


@kind("an append that acknowledges and stores nothing")
def _(f: Forger) -> Where:
    _function(
        f,
        "keyledger_append",
        "BEGIN RETURN QUERY SELECT (SELECT max(notification_id) FROM keyledger_events) + nth"
        " FROM unnest(streams) WITH ORDINALITY AS e (stream, nth); END",
    )
    return Where(words=("keyledger_append",))


@kind("an append that leaves the projection as it was")
def _(f: Forger) -> Where:
    body = f.one("SELECT prosrc FROM pg_proc WHERE oid = 'keyledger_append'::regproc")["prosrc"]
    at = body.index("INSERT INTO current_credentials")
    _function(f, "keyledger_append", f"{body[:at]} END")
    return Where(words=("keyledger_append",))


@kind("an append that does not wait for the disk")
def _(f: Forger) -> Where:
    body = f.one("SELECT prosrc FROM pg_proc WHERE oid = 'keyledger_append'::regproc")["prosrc"]
    _function(f, "keyledger_append", body.replace("BEGIN", "BEGIN SET LOCAL synchronous_commit = off;", 1))
    return Where(words=("keyledger_append",))


@kind("a guard of the log that guards nothing")
def _(f: Forger) -> Where:
    _function(f, "keyledger_refuse_change", "BEGIN RETURN NULL; END")
    return Where(words=("keyledger_refuse_change",))


def _log_triggers(f: Forger) -> list[str]:
    rows = f.sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 'keyledger_events'::regclass AND NOT tgisinternal")
    return [row["tgname"] for row in rows]


@kind("a trigger of the log, dropped")
def _(f: Forger) -> Where:
    name = f.chance.choice(_log_triggers(f))
    f.sql(f"DROP TRIGGER {name} ON keyledger_events")
    return Where(words=(name, "keyledger_events"))


@kind("a trigger of the log that fires for no one else")
def _(f: Forger) -> Where:
    """A trigger of its own that changes what is inserted."""
    f.sql(
        "CREATE FUNCTION keyledger_retouch() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.topic := NEW.topic; RETURN NEW; END $$"
    )
    f.sql("CREATE TRIGGER retouch BEFORE INSERT ON keyledger_events FOR EACH ROW EXECUTE FUNCTION keyledger_retouch()")
    return Where(words=("retouch", "keyledger_events"))


@kind("a rule on the log that discards what is inserted")
def _(f: Forger) -> Where:
    f.sql("CREATE RULE discard AS ON INSERT TO keyledger_events DO INSTEAD NOTHING")
    return Where(words=("discard", "keyledger_events"))


@kind("a log that does not survive a crash")
def _(f: Forger) -> Where:
    table = f.chance.choice(["keyledger_events", "current_credentials", "keyledger_ledger"])
    f.sql(f"ALTER TABLE {table} SET UNLOGGED")
    return Where(words=(table,))


@kind("an index that keeps positions unique, dropped")
def _(f: Forger) -> Where:
    f.sql("DROP INDEX keyledger_events_notification_id_idx")
    return Where(words=("keyledger_events_notification_id_idx",))


@kind("a constraint that keeps versions unique, dropped")
def _(f: Forger) -> Where:
    f.sql("ALTER TABLE keyledger_events DROP CONSTRAINT keyledger_events_pkey")
    return Where(words=("keyledger_events_pkey", "keyledger_events"))


@kind("the type of a column")
def _(f: Forger) -> Where:
    f.sql("ALTER TABLE keyledger_events ALTER COLUMN topic TYPE varchar(64)")
    return Where(words=("topic", "keyledger_events"))


@kind("rights on the log for the serving role", restricted=True)
def _(f: Forger) -> Where:
    f.sql("GRANT UPDATE, DELETE ON keyledger_events TO PUBLIC")
    return Where(words=("keyledger_events",))


@kind("a view in the place of the log")
def _(f: Forger) -> Where:
    f.sql("ALTER TABLE keyledger_events RENAME TO keyledger_events_before")
    f.sql("CREATE VIEW keyledger_events AS SELECT * FROM keyledger_events_before")
    f.sql("CREATE RULE none AS ON INSERT TO keyledger_events DO INSTEAD NOTHING")
    return Where(words=("keyledger_events",))


@kind("a node that does not exist and lacks the keys", BOTH, Must.HARMLESS)
def _(f: Forger) -> Where:
    """It would block every start and every rotation."""
    values: dict[str, object] = {"node_id": f.name(), "name": "evil", "process": "", "version": "0.1.0"}
    values["seen_at"] = utc_now() + timedelta(days=1)
    values |= {"primary_key_id": "k9999999999", "key_ids": ["k9999999999"]}
    f.insert("nodes", values)
    return Where()


@kind("the keys of a running node", BOTH, Must.HARMLESS)
def _(f: Forger) -> Where:
    f.sql("UPDATE nodes SET key_ids = '{}', name = 'evil'")
    return Where()


@kind("counts of calls", BOTH, Must.HARMLESS)
def _(f: Forger) -> Where:
    """They are counts, which neither resolve a call nor are evidence."""
    row = f.live()
    f.sql("UPDATE credential_usage SET calls = calls + 1000")
    tenant, provider = place_of(row)
    f.sql(
        "INSERT INTO credential_usage VALUES (%s, %s, %s, date_trunc('hour', now()), 5, 5, now())"
        " ON CONFLICT DO NOTHING",
        *(tenant, provider, row["version"]),
    )
    return Where()


UNREADABLE = (
    "UPDATE current_credentials SET set_at = 'infinity' WHERE token IS NOT NULL",
    "INSERT INTO credential_usage VALUES (gen_random_uuid(), 'openai', 1, now(), 1, 1, '20000-01-01')",
    "INSERT INTO credential_usage VALUES (gen_random_uuid(), 'openai', 1, '-infinity', 1, 1, now())",
    "INSERT INTO access_key_usage VALUES ('any', 'infinity', 1, now())",
    (
        "INSERT INTO token_usage VALUES (now(), gen_random_uuid(), 'openai', 1, '', 'm', 'EUR', 1, 1, 1, 1, 1, 1, 1, 1,"
        " 1, 'NaN', now())"
    ),
    "INSERT INTO access_key_budgets VALUES ('any', 'day', now(), 'tokens', gen_random_uuid(), 'NaN', 0, now())",
    (
        "INSERT INTO key_rotations (rotation_id, key_id, actor, state, total, started_at, unopened)"
        " VALUES (gen_random_uuid(), 'k1', 'alice', 'running', 7, now(), '[[1]]')"
    ),
    (
        "INSERT INTO key_rotations (rotation_id, key_id, actor, state, total, started_at)"
        " VALUES (gen_random_uuid(), 'k1', 'alice', 'otherwise', 7, now())"
    ),
    (
        "INSERT INTO projection_replays (replay_id, projection, actor, swap, state, started_at)"
        " VALUES (gen_random_uuid(), 'audit_trail', 'alice', 'always', 'running', 'infinity')"
    ),
)
"""Values that PostgreSQL has and the program has not: each would be an outage to everyone who reads the table."""


@kind("a value that no program can read", BOTH, refusable=True)
def _(f: Forger) -> Where:
    f.sql(f.chance.choice(UNREADABLE))
    return Where(words=("readable",))


@kind("a value that no program can read, and the constraint against it dropped")
def _(f: Forger) -> Where:
    f.sql("ALTER TABLE credential_usage DROP CONSTRAINT credential_usage_readable")
    f.sql(UNREADABLE[1])
    return Where(words=("credential_usage_readable",))


@kind("counts of calls, taken out", SUPERUSER, Must.HARMLESS)
def _(f: Forger) -> Where:
    f.sql("DELETE FROM credential_usage")
    return Where()


@kind("a rotation that no one runs", BOTH, Must.HARMLESS)
def _(f: Forger) -> Where:
    f.sql(
        "INSERT INTO key_rotations (rotation_id, key_id, actor, state, total, started_at)"
        " VALUES (%s, 'k9999999999', 'alice', 'running', 7, now())",
        f.name(),
    )
    return Where()


@kind("a replay that no one runs", BOTH, Must.HARMLESS)
def _(f: Forger) -> Where:
    f.sql(
        "INSERT INTO projection_replays (replay_id, projection, actor, swap, state)"
        " VALUES (%s, 'audit_trail', 'alice', 'always', 'running')",
        f.name(),
    )
    return Where()


@kind("what the serving role has no right to", APPLICATION, refusable=True)
def _(f: Forger) -> Where:
    statement = f.chance.choice(
        [
            "UPDATE keyledger_events SET topic = topic",
            "DELETE FROM keyledger_events",
            "TRUNCATE keyledger_events",
            "ALTER TABLE keyledger_events DISABLE TRIGGER ALL",
            "DELETE FROM audit_trail",
            "UPDATE audit_trail SET actor = 'x'",
            "DELETE FROM current_credentials",
            "DELETE FROM transparency_log",
            "CREATE OR REPLACE FUNCTION keyledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "DROP INDEX keyledger_events_notification_id_idx",
            "SET session_replication_role = replica",
        ]
    )
    f.sql(statement)
    return Where(words=("forbidden",))
