-- Which forms of events the log may hold, above the first. A row is added before the first event of its form, and a
-- program that cannot read the newest form does not start. See `keyledger/log/event_forms.py`.

CREATE TABLE IF NOT EXISTS event_forms (
    form    bigint      PRIMARY KEY,
    release text        NOT NULL,                -- of the program that began to write it
    since   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_forms_named CHECK (form > 1 AND release ~ '^[0-9A-Za-z.+-]{1,64}$')
);
COMMENT ON TABLE event_forms IS 'Which forms of events the log may hold. Append-only.';

CREATE OR REPLACE TRIGGER event_forms_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON event_forms
    FOR EACH STATEMENT EXECUTE FUNCTION keyledger_refuse_change();
ALTER TABLE event_forms ENABLE ALWAYS TRIGGER event_forms_append_only;
