-- Locks that one transaction at a time holds, as a lock on a row. An advisory lock would be open to every role that can
-- connect; a row lock needs the right to update the table. The rows themselves never change.

CREATE TABLE IF NOT EXISTS keyledger_locks (
    name text PRIMARY KEY                        -- what the holder does alone: `log` is the writer lock
);
INSERT INTO keyledger_locks (name) VALUES ('log'), ('nodes') ON CONFLICT DO NOTHING;
COMMENT ON TABLE keyledger_locks IS 'Locks: a transaction holds one while it has locked the row.';

CREATE OR REPLACE TRIGGER keyledger_locks_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON keyledger_locks
    FOR EACH STATEMENT EXECUTE FUNCTION keyledger_refuse_change();
ALTER TABLE keyledger_locks ENABLE ALWAYS TRIGGER keyledger_locks_append_only;
