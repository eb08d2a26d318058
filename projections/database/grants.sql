-- The rights of the serving role if another role owns the tables: what the service needs and nothing more.
-- The owner runs this after creating the tables and after each new version of the schema. It may be run again.
-- APPLICATION_ROLE stands for the role's name; docs/operations.md shows how to fill it in.
-- The right to append does not include the right to change: UPDATE, DELETE and TRUNCATE on the log are not granted, and
-- only the owner can remove the triggers that refuse them as well.

DO $$ BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO "APPLICATION_ROLE"', current_schema());
END $$;

REVOKE ALL ON keyledger_schema, keyledger_ledger, keyledger_events, current_credentials, access_keys, tenants, audit_trail,
    projection_positions, nodes, key_rotations, projection_replays, transparency_log, credential_usage,
    access_key_usage, token_usage, access_key_budgets, keyledger_locks,
    people, personal_keys, ledger_secret, event_forms FROM "APPLICATION_ROLE";

-- The version of the schema and the id of the ledger.
GRANT SELECT ON keyledger_schema, keyledger_ledger TO "APPLICATION_ROLE";

-- Row locks need the right to update; a trigger refuses every update of the rows.
GRANT SELECT, UPDATE ON keyledger_locks TO "APPLICATION_ROLE";

-- The log, and the forms of its events.
GRANT SELECT, INSERT ON keyledger_events, event_forms TO "APPLICATION_ROLE";
GRANT EXECUTE ON FUNCTION keyledger_append(uuid[], bigint[], text[], bytea[], text, bytea[], text, timestamptz, jsonb) TO "APPLICATION_ROLE";
GRANT EXECUTE ON FUNCTION keyledger_lock_log() TO "APPLICATION_ROLE";

-- People and tenants, and the keys of their sealed members, which an erasure deletes.
GRANT SELECT, INSERT, UPDATE ON people TO "APPLICATION_ROLE";
GRANT SELECT, INSERT, DELETE ON personal_keys TO "APPLICATION_ROLE";
GRANT SELECT, INSERT, DELETE ON ledger_secret TO "APPLICATION_ROLE";

-- The projections and their positions. Rows of the audit trail are only added; a deleted credential and a revoked
-- access key keep their rows.
GRANT SELECT, INSERT, UPDATE ON current_credentials, access_keys, tenants TO "APPLICATION_ROLE";
GRANT SELECT, INSERT ON audit_trail TO "APPLICATION_ROLE";
GRANT SELECT, INSERT, UPDATE ON transparency_log TO "APPLICATION_ROLE"; -- the last tile of each level grows
GRANT SELECT, INSERT, UPDATE ON projection_positions TO "APPLICATION_ROLE";

-- Counts of calls and requests.
GRANT SELECT, INSERT, UPDATE ON credential_usage, access_key_usage, token_usage, access_key_budgets TO "APPLICATION_ROLE";

-- What running services tell each other. For a replay this is its progress only: its tables are created by the owner.
GRANT SELECT, INSERT, UPDATE, DELETE ON nodes TO "APPLICATION_ROLE";
GRANT SELECT, INSERT, UPDATE ON key_rotations, projection_replays TO "APPLICATION_ROLE";
