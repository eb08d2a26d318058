-- Takes the writer lock: until the caller's transaction ends, no other transaction can append. The lock is on a row, so
-- VACUUM never waits for it, and no role without rights on the table can take it. It ends with its transaction, so it
-- holds through a connection pooler too.

CREATE OR REPLACE FUNCTION keyledger_lock_log() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM keyledger_locks WHERE name = 'log' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'keyledger_locks has no row for the writer lock';
    END IF;
END $$;
