"""Forgeries of what is computed from the log: current credentials, audit trail, tree, and the positions of all."""

from tests.forgeries.kinds import BOTH, SUPERUSER, Must, Where, kind
from tests.support.forger import ALICE, Forger, place_of

AT = " WHERE tenant_id = %s AND provider = %s"


@kind("the token of a credential", BOTH)
def _(f: Forger) -> Where:
    place = place_of(f.live())
    change = f.chance.choice(["token || 'x'", "reverse(token)", "overlay(token placing 'AAAA' from 60)", "'x'"])
    f.sql(f"UPDATE current_credentials SET token = {change}{AT}", *place)
    return Where(place=place)


@kind("the token of another tenant's credential", BOTH)
def _(f: Forger) -> Where:
    row = f.live()
    other = f.one("SELECT * FROM current_credentials WHERE token IS NOT NULL AND stream_id <> %s", row["stream_id"])
    f.sql(
        f"UPDATE current_credentials SET token = %s, binding = %s, key_id = %s{AT}",
        *(other["token"], other["binding"], other["key_id"], *place_of(row)),
    )
    return Where(place=place_of(row))


@kind("where a credential is sent", BOTH)
def _(f: Forger) -> Where:
    place = place_of(f.live())
    column = f.chance.choice(["endpoint", "api_version", "deployment_name"])
    f.sql(f"UPDATE current_credentials SET {column} = 'https://evil.example.com'{AT}", *place)
    return Where(place=place)


@kind("what a list shows of a credential", BOTH)
def _(f: Forger) -> Where:
    place = place_of(f.live())
    change = f.chance.choice(["masked_key = '...0000'", "set_at = set_at - interval '1 day'"])
    f.sql(f"UPDATE current_credentials SET {change}{AT}", *place)
    return Where(place=place)


@kind("the encryption key that a credential names", BOTH)
def _(f: Forger) -> Where:
    place = place_of(f.live())
    f.sql(f"UPDATE current_credentials SET key_id = 'k9999999999'{AT}", *place)
    return Where(place=place, words=("k9999999999",))


@kind("the version of a credential", BOTH)
def _(f: Forger) -> Where:
    place = place_of(f.live())
    f.sql(f"UPDATE current_credentials SET version = version + {f.chance.choice([-1, 1, 7])}{AT}", *place)
    return Where(place=place)


@kind("a credential marked as deleted", BOTH)
def _(f: Forger) -> Where:
    row = f.live()
    f.show_deleted(row, row["version"])
    return Where(place=place_of(row))


@kind("a deleted credential shown as live", BOTH)
def _(f: Forger) -> Where:
    row, other = f.one("SELECT * FROM current_credentials WHERE token IS NULL"), f.live()
    f.sql(
        f"UPDATE current_credentials SET token = %s, binding = %s, key_id = %s, masked_key = %s, set_at = %s{AT}",
        *(other["token"], other["binding"], other["key_id"], other["masked_key"], other["set_at"], *place_of(row)),
    )
    return Where(place=place_of(row))


@kind("the row of a credential, taken out")
def _(f: Forger) -> Where:
    place = place_of(f.live())
    f.sql(f"DELETE FROM current_credentials{AT}", *place)
    return Where(place=place)


@kind("a row of no credential", BOTH)
def _(f: Forger) -> Where:
    row = {**f.live(), "tenant_id": f.name()}
    f.insert("current_credentials", row)
    return Where(place=place_of(row))


@kind("a row moved to another tenant")
def _(f: Forger) -> Where:
    row, tenant = f.live(), f.name()
    f.sql(f"UPDATE current_credentials SET tenant_id = %s{AT}", tenant, *place_of(row))
    return Where(place=place_of(row))


@kind("two rows, exchanged between tenants", BOTH)
def _(f: Forger) -> Where:
    row = f.live()
    other = f.one("SELECT * FROM current_credentials WHERE token IS NOT NULL AND stream_id <> %s", row["stream_id"])
    for one, another in ((row, other), (other, row)):
        columns = [name for name in one if name not in {"tenant_id", "provider"}]
        sets = ", ".join(f"{name} = %s" for name in columns)
        f.sql(f"UPDATE current_credentials SET {sets}{AT}", *(another[name] for name in columns), *place_of(one))
    return Where(place=place_of(row))


@kind("the stream that a row names", BOTH)
def _(f: Forger) -> Where:
    place = place_of(f.live())
    f.sql(f"UPDATE current_credentials SET stream_id = gen_random_uuid(){AT}", *place)
    return Where(place=place)


@kind("a column of an entry of the trail", refusable=True)
def _(f: Forger) -> Where:
    position = f.chance.randint(1, f.head())
    change = f.chance.choice(
        [
            f"actor = '{ALICE}'",
            "reason = 'because'",
            "recorded_at = recorded_at - interval '1 day'",
            "details = '{\"x\": 1}'",
            "client_address = '192.0.2.99'",
            "version = version + 1000",
        ]
    )
    f.sql(f"UPDATE audit_trail SET {change} WHERE position = %s", position)
    return Where(position)


@kind("an entry of the trail, taken out")
def _(f: Forger) -> Where:
    position = f.chance.randint(1, f.head())
    f.sql("DELETE FROM audit_trail WHERE position = %s", position)
    return Where(position)


def _entry(f: Forger, position: int) -> None:
    some = f.one("SELECT * FROM audit_trail")
    f.insert("audit_trail", {**_adapted(some), "position": position, "stream_id": f.name(), "actor": ALICE})


def _adapted(row: dict) -> dict:
    from psycopg.types.json import Jsonb

    return {name: Jsonb(value) if isinstance(value, dict) else value for name, value in row.items()}


@kind("an entry in the trail that no event accounts for", BOTH)
def _(f: Forger) -> Where:
    position = f.chance.choice([f.head() + 1, f.head() + 1000, 0, -5])
    _entry(f, position)
    return Where(position)


@kind("an entry of the trail, moved")
def _(f: Forger) -> Where:
    position = f.chance.randint(1, f.head())
    f.sql("UPDATE audit_trail SET position = %s WHERE position = %s", f.head() + 50, position)
    return Where(position)


@kind("a hash in the tree", BOTH)
def _(f: Forger) -> Where:
    row = f.one("SELECT * FROM transparency_log WHERE level = 0")
    at = f.chance.randrange(len(row["hashes"]))
    f.sql(
        "UPDATE transparency_log SET hashes = set_byte(hashes, %s, get_byte(hashes, %s) # 1)"
        " WHERE level = 0 AND tile = %s",
        *(at, at, row["tile"]),
    )
    return Where(row["tile"] * 256 + at // 32 + 1, words=("rewritten", "tree"))


@kind("hashes taken out of the tree", BOTH)
def _(f: Forger) -> Where:
    row = f.one("SELECT * FROM transparency_log WHERE level = 0 AND octet_length(hashes) >= 64")
    kept = f.chance.randint(1, len(row["hashes"]) // 32 - 1)
    f.sql(
        "UPDATE transparency_log SET hashes = %s WHERE level = 0 AND tile = %s",
        *(bytes(row["hashes"])[: kept * 32], row["tile"]),
    )
    return Where(row["tile"] * 256 + kept + 1, words=("rewritten", "tree"))


@kind("the tree, taken out")
def _(f: Forger) -> Where:
    f.sql("DELETE FROM transparency_log")
    return Where(1, words=("rewritten", "tree"))


@kind("a tile beyond the tree", BOTH)
def _(f: Forger) -> Where:
    level, tile = f.chance.choice([(0, 7), (1, 3), (9, 0), (0, -1)])
    f.insert("transparency_log", {"level": level, "tile": tile, "hashes": bytes(64)})
    return Where(f.head() + 1, words=("tree",))


FOLLOWERS = ("audit_trail", "transparency_log")


@kind("the position of the trail, moved ahead", BOTH)
def _(f: Forger) -> Where:
    _move(f, "audit_trail", f.head() + f.chance.choice([1, 10, 1_000_000]))
    return Where(f.head() + 1, words=("audit_trail", "trail"))


@kind("the position of the tree, moved ahead", BOTH)
def _(f: Forger) -> Where:
    _move(f, "transparency_log", f.head() + f.chance.choice([1, 10, 1_000_000]))
    return Where(f.head() + 1, words=("transparency_log", "tree"))


@kind("the position of the trail, moved back", BOTH)
def _(f: Forger) -> Where:
    _move(f, "audit_trail", f.chance.randrange(f.head()))
    return Where(f.head() + 1, words=("audit_trail", "trail"))


@kind("the position of the tree, moved back", BOTH, Must.HARMLESS)
def _(f: Forger) -> Where:
    """The tree is computed again from there, with the same hashes."""
    _move(f, "transparency_log", f.chance.randrange(f.head()))
    return Where(words=("transparency_log", "tree"))


@kind("trail and tree emptied, with their positions", SUPERUSER, Must.HARMLESS)
def _(f: Forger) -> Where:
    """Both are computed again."""
    f.compute_again()
    return Where(words=("audit_trail", "transparency_log", "tree"))


def _move(f: Forger, projection: str, position: int) -> None:
    f.sql("UPDATE projection_positions SET position = %s WHERE projection = %s", position, projection)
