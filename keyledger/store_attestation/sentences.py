"""One sentence for each finding about a database, and how serious it is.

Promises: a sentence names the cause and the remedy, and quotes neither the driver nor an address.
"""

from collections.abc import Mapping
from enum import Enum, auto

from projections.database.connection_failure import Failure
from projections.database.findings import Finding, Flaw

_FAILURES: Mapping[Failure, str] = {
    Failure.NAME_UNKNOWN: "the host in {setting} cannot be found: check its name and DNS",
    Failure.NOTHING_LISTENS: "nothing listens at the address in {setting}: start the server, or check host and port",
    Failure.NO_ANSWER: "the server in {setting} does not answer in time: check host, port, firewall and load",
    Failure.PASSWORD: "the server rejects the role or the password in {setting}: check both",
    Failure.PASSWORD_MISSING: "the server requires a password and {setting} has none: add it",
    Failure.ROLE_UNKNOWN: "the role in {setting} does not exist, or may not log in: create it, or check its name",
    Failure.DATABASE_UNKNOWN: "the database in {setting} does not exist on that server: create it, or check its name",
    Failure.ADDRESS_REFUSED: "the server does not admit this address with that role and database: add a line to"
    " its pg_hba.conf",
    Failure.TLS_REQUIRED: "the server accepts only TLS connections: set sslmode=require or stricter in {setting}",
    Failure.TLS_FAILED: "sslmode in {setting} requires TLS, but the server has none, or a certificate that is not"
    " trusted: check sslmode and sslrootcert",
    Failure.TOO_MANY_CONNECTIONS: "the server has no connection left: raise its max_connections, or put a pooler in"
    " front of it",
    Failure.STARTING_OR_STOPPING: "the server is starting, stopping or recovering: try again in a moment",
    Failure.RIGHT_TO_CONNECT: "the role in {setting} may not connect to that database: grant it CONNECT",
    Failure.OPTIONS: "the pooler rejects the parameter `options` in {setting}: remove it; time limits work without it",
    Failure.POOLER: "the pooler refuses the connection: unknown database or role, wrong password, or its server is"
    " down; its log says which",
    Failure.READ_ONLY: "the server in {setting} is read-only, such as a standby: name the primary, or list all hosts",
    Failure.REFUSED_BY_SERVER: "the server refuses the connection; its log says why",
}
_INVESTIGATE = "find out who did it, run keyledger verify, then"
_APPLY_AGAIN = f"{_INVESTIGATE} have the owner apply the schema again, as docs/operations.md shows"
_FLAWS: Mapping[Flaw, str] = {
    Flaw.OLD_SERVER: "the server is older than PostgreSQL 15: upgrade it",
    Flaw.NEWER_SCHEMA: "a newer release of KeyLedger has migrated this database: run that release",
    Flaw.OLDER_SCHEMA: "a program from before the first release made this database, and its log has another form:"
    " name an empty database in {setting}, or another DATA_DIR",
    Flaw.NEWER_EVENTS: "the log has events that release {names} began to write, and this release cannot read them: run"
    " that release or a newer one",
    Flaw.RIGHTS: "the role in {setting} lacks privileges: {names}; the owner grants them with grants.sql, as"
    " docs/operations.md shows",
    Flaw.TIME_LIMITS: "time limits do not reach the server, so a statement could hang: check what is in between",
    Flaw.LOCKS: "transaction locks do not hold, so two writers could append at once: check what is in between",
    Flaw.UNSAFE_SERVER: "{names} is off on the server, so a power failure can lose acknowledged writes: turn it on",
    Flaw.RISKY_SERVER: "the server's {names} can lose acknowledged writes when it crashes or fails over: set it to on,"
    " unless the file system or the standby makes up for it",
    Flaw.ROLE: "the role in {setting} {names}, so its holder can switch off what protects the log: let another role"
    " own the tables and use it in DATABASE_ADMIN_URL, as docs/operations.md shows",
    Flaw.TABLES: f"these tables are not those that this release made: {{names}}; {_INVESTIGATE} restore a backup",
    Flaw.UNLOGGED: "{names} would be empty after a server crash: run ALTER TABLE ... SET LOGGED",
    Flaw.ROW_SECURITY: "{names} hides rows by row level security: run ALTER TABLE ... DISABLE ROW LEVEL SECURITY",
    Flaw.COLUMNS: f"these columns are not those that this release made: {{names}}; {_INVESTIGATE} restore a backup, or"
    " have the owner change them back",
    Flaw.CONSTRAINTS: f"these constraints are not those that this release made: {{names}}; {_INVESTIGATE} have the"
    " owner remove what was added, and restore a backup if one is missing",
    Flaw.INDEXES: f"these unique indexes are not those that this release made: {{names}}; {_INVESTIGATE} have the owner"
    " remove what was added or is invalid and apply the schema again, as docs/operations.md shows",
    Flaw.SLOW_INDEXES: "reads are slow without these indexes: {names}; have the owner drop what is left of them and"
    " apply the schema again, as docs/operations.md shows",
    Flaw.TRIGGERS: f"{{names}} is not protected against changes: its trigger is missing or disabled; {_APPLY_AGAIN}",
    Flaw.ADDED_CODE: f"triggers or rules that this release did not make run when it writes: {{names}}; {_INVESTIGATE}"
    " have the owner drop them",
    Flaw.FUNCTIONS: f"these functions are not those that this release made: {{names}}; {_APPLY_AGAIN}",
    Flaw.SHADOWED: f"something else is found in place of what this release uses: {{names}}; {_INVESTIGATE} drop it, or"
    " take its schema out of the search_path of the role",
    Flaw.LOCK_ROWS: f"keyledger_locks lacks rows: {{names}}; {_APPLY_AGAIN}",
    Flaw.EVENT_TRIGGERS: "event triggers run code when the schema changes: {names}; check that they are yours",
    Flaw.OWNERS: "{names} of the ledger have several owners, each of whom can replace what it owns: give them"
    " one owner",
}
_WARNINGS = frozenset({Flaw.RISKY_SERVER, Flaw.SLOW_INDEXES, Flaw.EVENT_TRIGGERS, Flaw.OWNERS})
_ATTESTED = frozenset(
    {
        Flaw.UNSAFE_SERVER,
        Flaw.TABLES,
        Flaw.UNLOGGED,
        Flaw.ROW_SECURITY,
        Flaw.COLUMNS,
        Flaw.CONSTRAINTS,
        Flaw.INDEXES,
        Flaw.TRIGGERS,
        Flaw.ADDED_CODE,
        Flaw.FUNCTIONS,
        Flaw.SHADOWED,
        Flaw.LOCK_ROWS,
    }
)
"""Flaws with which nothing may be appended. A command that only reads names them and continues."""


def sentence_of(finding: Finding, setting: str = "DATABASE_URL") -> str:
    """Return a finding in one sentence for people, "" where the assumption holds.

    setting: the name of the setting that gave the address.
    """
    if finding.flaw is None:
        return ""
    said = _FAILURES[finding.flaw] if isinstance(finding.flaw, Failure) else _FLAWS[finding.flaw]
    return said.format(setting=setting, names=", ".join(finding.names))


class RoleRule(Enum):
    """The consequence of a serving role that could switch off what protects the log.

    IGNORED: nothing, as with the embedded server, which only the service can reach. NAMED: a warning. REFUSED: no
    start.
    """

    IGNORED = auto()
    NAMED = auto()
    REFUSED = auto()


def stands_in_the_way(finding: Finding, *, appends: bool = True, role: RoleRule = RoleRule.NAMED) -> bool:
    """Say whether a finding prevents a start. appends: False for a command that only reads, backs up or replays."""
    if finding.flaw is Flaw.ROLE:
        return role is RoleRule.REFUSED
    if finding.flaw is None or finding.flaw in _WARNINGS:
        return False
    return appends or finding.flaw not in _ATTESTED
