"""Forgeries of events: added, changed, moved, copied, dated back, with and without projections to match."""

from tests.forgeries.kinds import BOTH, THE_LOG, Where, kind
from tests.support.forger import ALICE, FAR, Forger, canonical, members_of, place_of, record_stream, time_text


def _deletion(f: Forger) -> tuple[dict, dict, int]:
    row = f.live()
    members = {**f.example("CredentialDeleted"), "tenant_id": str(row["tenant_id"]), "provider": row["provider"]}
    return row, members, row["version"] + 1


@kind("a deletion, appended with the service's function", BOTH, refusable=True)
def _(f: Forger) -> Where:
    row, members, version = _deletion(f)
    gone = dict.fromkeys(f.columns("current_credentials"))
    gone |= {name: row[name] for name in ("tenant_id", "provider", "stream_id")} | {"version": version}
    position = f.append("CredentialDeleted", members, row["stream_id"], version, gone)
    return Where(position, place_of(row))


@kind("a deletion, inserted with its row of the projection", BOTH)
def _(f: Forger) -> Where:
    row, members, version = _deletion(f)
    position = f.add("CredentialDeleted", members, row["stream_id"], version)
    f.show_deleted(row, version)
    return Where(position, place_of(row))


@kind("a deletion, inserted without its row", BOTH)
def _(f: Forger) -> Where:
    row, members, version = _deletion(f)
    return Where(f.add("CredentialDeleted", members, row["stream_id"], version), place_of(row))


@kind("a deletion at a position that no follower reads", BOTH, refusable=True)
def _(f: Forger) -> Where:
    row, members, version = _deletion(f)
    position = f.chance.choice([0, -1, -f.chance.randint(2, 1000)])
    f.add("CredentialDeleted", members, row["stream_id"], version, position)
    f.show_deleted(row, version)
    return Where(position, place_of(row), ("position",))


@kind("a deletion at a position far ahead", BOTH, refusable=True)
def _(f: Forger) -> Where:
    row, members, version = _deletion(f)
    head = f.head()
    f.add("CredentialDeleted", members, row["stream_id"], version, head + f.chance.randint(2, 10_000))
    f.show_deleted(row, version)
    return Where(head + 1, place_of(row))


@kind("a deletion that is dated back", BOTH, refusable=True)
def _(f: Forger) -> Where:
    row, members, version = _deletion(f)
    members["timestamp"] = time_text(-f.chance.randint(1, 1000))
    position = f.add("CredentialDeleted", members, row["stream_id"], version)
    f.show_deleted(row, version)
    return Where(position, place_of(row))


@kind("a deletion of a version that leaves a gap", BOTH)
def _(f: Forger) -> Where:
    row, members, version = _deletion(f)
    position = f.add("CredentialDeleted", members, row["stream_id"], version + f.chance.randint(1, 9))
    f.show_deleted(row, f.last_of(row["stream_id"])["originator_version"])
    return Where(position, place_of(row))


@kind("a deletion put in the place of the last event of a credential")
def _(f: Forger) -> Where:
    row = f.live()
    last = f.last_of(row["stream_id"])
    members = {**f.example("CredentialDeleted"), "tenant_id": str(row["tenant_id"]), "provider": row["provider"]}
    f.sql(
        "UPDATE keyledger_events SET topic = 'CredentialDeleted', state = %s WHERE notification_id = %s",
        canonical(members),
        last["notification_id"],
    )
    f.show_deleted(row, last["originator_version"])
    f.compute_again()
    return Where(last["notification_id"], place_of(row))


RECORDS = ("RequestRefused", "AuditRead", "AuditExported", "ProjectionReplayed")


@kind("a record of a request or of a read of the audit", BOTH)
def _(f: Forger) -> Where:
    topic = f.chance.choice(RECORDS)
    members = f.example(topic)
    return Where(f.add(topic, members, record_stream(members["command_id"]), 1))


@kind("a change of the policy", BOTH)
def _(f: Forger) -> Where:
    last = f.last_of(f.event("topic = 'PolicyChanged'")["originator_id"])
    members = {**f.example("PolicyChanged"), "global_fallback": "deny"}
    return Where(f.add("PolicyChanged", members, last["originator_id"], last["originator_version"] + 1))


@kind("an acceptance of a restore", BOTH)
def _(f: Forger) -> Where:
    stream = "c1d7a5c2-4a34-5f0e-9a53-7b1e6d2f8a90"
    read = f.example("AuditRead")
    members = {name: value for name, value in read.items() if name not in {"view", "count", "query"}}
    members |= {"class_version": 2, "from_position": f.head() + 5, "to_position": f.head()}
    version = f.last_of(stream)["originator_version"] + 1 if f.has(stream) else 1
    return Where(f.add("RestoreAccepted", members, stream, version))


@kind("an encryption key that was never introduced or is retired", BOTH)
def _(f: Forger) -> Where:
    last = f.last_of(f.event("topic = 'EncryptionKeyIntroduced'")["originator_id"])
    members, version = f.example("EncryptionKeyIntroduced"), last["originator_version"] + 1
    if f.chance.random() < 0.5:
        members["key_id"] = "k9999999999"
        return Where(f.add("EncryptionKeyIntroduced", members, last["originator_id"], version))
    return Where(f.add("EncryptionKeyRetired", {**members, "unrecoverable": 0}, last["originator_id"], version))


@kind("an older event of the same credential, appended again", BOTH)
def _(f: Forger) -> Where:
    row = f.live()
    old = f.event("originator_id = %s AND topic <> 'CredentialDeleted'", row["stream_id"])
    position = f.add(old["topic"], members_of(old), row["stream_id"], row["version"] + 1)
    _show(f, row, members_of(old), row["version"] + 1)
    return Where(position, place_of(row))


def _show(f: Forger, row: dict, members: dict, version: int) -> None:
    f.sql(
        "UPDATE current_credentials SET version = %s, token = %s, binding = %s, key_id = %s, masked_key = %s,"
        " set_at = %s WHERE tenant_id = %s AND provider = %s",
        *(version, members["token"], members["binding"], members["key_id"], members["masked_key"], members["set_at"]),
        *place_of(row),
    )


@kind("an event of another tenant's credential", BOTH)
def _(f: Forger) -> Where:
    row = f.live()
    from_another = f.event("topic = 'CredentialSet' AND originator_id <> %s", row["stream_id"])
    members = {**members_of(from_another), "tenant_id": str(row["tenant_id"]), "provider": row["provider"]}
    position = f.add("CredentialSet", members, row["stream_id"], row["version"] + 1)
    _show(f, row, members, row["version"] + 1)
    return Where(position, place_of(row))


@kind("an event of another ledger under the same keys", BOTH)
def _(f: Forger) -> Where:
    """Its token opens: tenant, provider, stream, version and settings are the same in both ledgers."""
    for row in f.sql("SELECT * FROM current_credentials ORDER BY random()"):
        found = f.other.execute(
            "SELECT * FROM keyledger_events WHERE originator_id = %s AND originator_version = %s AND topic <> %s",
            [row["stream_id"], row["version"] + 1, "CredentialDeleted"],
        ).fetchone()
        if found is not None:
            members = members_of(found)
            position = f.head() + 1
            f.insert("keyledger_events", {**found, "notification_id": position})
            _show(f, row, members, row["version"] + 1)
            return Where(position, place_of(row))
    raise AssertionError("the other ledger has no such event")


@kind("a credential of another ledger, for a tenant that has none", BOTH)
def _(f: Forger) -> Where:
    found = f.other.execute(
        "SELECT e.*, c.tenant_id, c.provider FROM keyledger_events AS e JOIN current_credentials AS c"
        " ON c.stream_id = e.originator_id WHERE originator_version = 1 AND topic = 'CredentialSet'"
        " AND NOT originator_id = ANY (%s)",
        [[row["stream_id"] for row in f.sql("SELECT stream_id FROM current_credentials")]],
    ).fetchone()
    assert found is not None, "the other ledger has no tenant of its own"
    position, place = f.head() + 1, place_of(found)
    row = {name: value for name, value in found.items() if name in f.columns("keyledger_events")}
    f.insert("keyledger_events", {**row, "notification_id": position})
    members = members_of(found)
    shown = {name: members.get(name) for name in f.columns("current_credentials") if name in members}
    f.insert("current_credentials", {**shown, "version": 1, "stream_id": found["originator_id"]})
    return Where(position, place)


@kind("a deletion of a part of the log that a restore gave up", BOTH, refusable=True)
def _(f: Forger) -> Where:
    """Its code is right, and its version is made to fit."""
    rows = {str(row["stream_id"]): row for row in f.sql("SELECT * FROM current_credentials WHERE token IS NOT NULL")}
    fitting = [one for one in f.abandoned if str(one["originator_id"]) in rows]
    assert fitting, "no live credential had such an event"
    old = f.chance.choice(fitting)
    row, position = rows[str(old["originator_id"])], f.head() + 1
    f.insert("keyledger_events", {**old, "notification_id": position})
    f.show_deleted(row, old["originator_version"])
    return Where(position, place_of(row))


CHANGES = (
    {"actor": ALICE},
    {"reason": "the customer asked for it"},
    {"request_id": "req-other"},
    {"timestamp": time_text(-5)},
    {"client_address": "192.0.2.99"},
    {"role": "auditor"},
)


@kind("a member of the last event")
def _(f: Forger) -> Where:
    return Where(f.change(f.event("notification_id = %s", f.head()), **f.chance.choice(CHANGES)))


@kind("a member of any event")
def _(f: Forger) -> Where:
    return Where(f.change(f.event(), **f.chance.choice(CHANGES)))


@kind("a member of any event, with trail and tree computed again")
def _(f: Forger) -> Where:
    position = f.change(f.event(), **f.chance.choice(CHANGES))
    f.compute_again()
    return Where(position, words=THE_LOG)


@kind("the actor of every event, with trail and tree computed again")
def _(f: Forger) -> Where:
    for row in f.sql("SELECT * FROM keyledger_events"):
        f.change(row, actor=ALICE)
    f.compute_again()
    return Where(1, words=THE_LOG)


@kind("settings of a credential, in its event and its row")
def _(f: Forger) -> Where:
    row = f.live()
    last = f.last_of(row["stream_id"])
    position = f.change(last, endpoint="https://evil.example.com")
    f.sql(
        "UPDATE current_credentials SET endpoint = 'https://evil.example.com' WHERE tenant_id = %s AND provider = %s",
        *place_of(row),
    )
    f.compute_again()
    return Where(position, place_of(row))


@kind("two events, exchanged")
def _(f: Forger) -> Where:
    one, other = sorted(f.chance.sample(range(1, f.head() + 1), 2))
    _exchange(f, one, other)
    return Where(one)


@kind("two events, exchanged, with trail and tree computed again")
def _(f: Forger) -> Where:
    one, other = sorted(f.chance.sample(range(1, f.head() + 1), 2))
    _exchange(f, one, other)
    f.compute_again()
    return Where(one, words=THE_LOG)


def _exchange(f: Forger, one: int, other: int) -> None:
    for to, at in ((FAR, one), (one, other), (other, FAR)):
        f.sql("UPDATE keyledger_events SET notification_id = %s WHERE notification_id = %s", to, at)
