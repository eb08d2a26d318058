-- The rights of the role that serves, where another role owns the tables: what the service needs and nothing more.
-- Run by the owner, after the tables were made and after each new version of them; may run again.
-- APPLICATION_ROLE stands for the role's name: docs/operations.md says how it is filled in.
-- Right to append is no right to change: UPDATE, DELETE and TRUNCATE of the log need a right that is not given here, and
-- only the owner can take away the triggers that refuse them too.

DO $$ BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO "APPLICATION_ROLE"', current_schema());
END $$;

REVOKE ALL ON keyledger_schema, keyledger_ledger, keyledger_events, current_credentials, audit_trail,
    projection_positions, nodes, key_rotations, projection_replays, transparency_log, credential_usage FROM "APPLICATION_ROLE";

-- Which schema and which ledger this is.
GRANT SELECT ON keyledger_schema, keyledger_ledger TO "APPLICATION_ROLE";

-- The log.
GRANT SELECT, INSERT ON keyledger_events TO "APPLICATION_ROLE";
GRANT EXECUTE ON FUNCTION keyledger_append(uuid[], bigint[], text[], bytea[], jsonb) TO "APPLICATION_ROLE";
GRANT EXECUTE ON FUNCTION keyledger_lock_log() TO "APPLICATION_ROLE";

-- Its views, and how far they have come. Rows of the trail are only ever added; a credential that was deleted is a row.
GRANT SELECT, INSERT, UPDATE ON current_credentials TO "APPLICATION_ROLE";
GRANT SELECT, INSERT ON audit_trail TO "APPLICATION_ROLE";
GRANT SELECT, INSERT, UPDATE ON transparency_log TO "APPLICATION_ROLE"; -- the last tile of each level grows
GRANT SELECT, INSERT, UPDATE ON projection_positions TO "APPLICATION_ROLE";

-- Who used a credential.
GRANT SELECT, INSERT, UPDATE ON credential_usage TO "APPLICATION_ROLE";

-- What running services tell each other. A replay is only told here: the tables it makes are made by the owner.
GRANT SELECT, INSERT, UPDATE, DELETE ON nodes TO "APPLICATION_ROLE";
GRANT SELECT, INSERT, UPDATE ON key_rotations, projection_replays TO "APPLICATION_ROLE";
