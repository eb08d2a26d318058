-- Takes the writer lock: until the caller's transaction ends, no other transaction can append. The lock is advisory, so VACUUM
-- never waits for it, and it ends with its transaction, so it holds through a connection pooler too.

CREATE OR REPLACE FUNCTION keyledger_lock_log() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('keyledger_events'::regclass::oid::bigint);
END $$;
