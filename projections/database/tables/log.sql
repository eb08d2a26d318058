-- The log's own tables: the events, and the id of the ledger they belong to. Both are append-only.

CREATE TABLE IF NOT EXISTS keyledger_events (
    originator_id      uuid   NOT NULL,          -- the stream, such as one credential
    originator_version bigint NOT NULL,          -- version within the stream, from 1
    topic              text   NOT NULL,          -- kind of event
    state              bytea  NOT NULL,          -- the event's fields as canonical JSON; secrets are sealed
    notification_id    bigint NOT NULL,          -- position within the log, from 1, without gaps
    code_key_id        text,                     -- the key of the code; NULL: written without a key
    code               bytea,                    -- shows that a holder of the ledger's keys wrote the event, 32 bytes
    PRIMARY KEY (originator_id, originator_version),
    CONSTRAINT keyledger_events_in_place CHECK (notification_id >= 1 AND originator_version >= 1),
    CONSTRAINT keyledger_events_coded CHECK (num_nulls(code_key_id, code) IN (0, 2) AND octet_length(code) = 32)
);
CREATE UNIQUE INDEX IF NOT EXISTS keyledger_events_notification_id_idx ON keyledger_events (notification_id);
COMMENT ON TABLE keyledger_events IS 'The log. Append-only: UPDATE, DELETE and TRUNCATE are refused.';

-- ALWAYS: also in sessions that apply a replication stream, where ordinary triggers do not fire.
CREATE OR REPLACE TRIGGER keyledger_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON keyledger_events
    FOR EACH STATEMENT EXECUTE FUNCTION keyledger_refuse_change();
ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER keyledger_events_append_only;

-- One row: a dump and a restore keep the id, a newly created database gets another.
CREATE TABLE IF NOT EXISTS keyledger_ledger (
    ledger_id uuid    NOT NULL DEFAULT gen_random_uuid(),
    the_only  boolean PRIMARY KEY DEFAULT true CHECK (the_only)
);
INSERT INTO keyledger_ledger DEFAULT VALUES ON CONFLICT DO NOTHING;
CREATE OR REPLACE TRIGGER keyledger_ledger_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON keyledger_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION keyledger_refuse_change();
ALTER TABLE keyledger_ledger ENABLE ALWAYS TRIGGER keyledger_ledger_append_only;
