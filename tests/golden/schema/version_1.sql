-- The whole store. Applied as one step by `projections.migration`; every statement may run again.
-- Indexes have the names PostgreSQL would give them: a view that was replayed then has indexes of the same names.

CREATE TABLE IF NOT EXISTS keyledger_schema (
    version    bigint      PRIMARY KEY,          -- of this file; a later version is a step of its own
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS keyledger_events (
    originator_id      uuid   NOT NULL,          -- stream: one credential
    originator_version bigint NOT NULL,          -- version within the stream, from 1
    topic              text   NOT NULL,          -- kind of event
    state              bytea  NOT NULL,          -- members of the event, canonical JSON; secrets are sealed
    notification_id    bigint NOT NULL,          -- position within the log, from 1, without gaps
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX IF NOT EXISTS keyledger_events_notification_id_idx ON keyledger_events (notification_id);
COMMENT ON TABLE keyledger_events IS 'The log. Append-only: UPDATE, DELETE and TRUNCATE are refused.';

CREATE OR REPLACE FUNCTION keyledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

-- ALWAYS: also for sessions that replay a replication stream, which skip ordinary triggers.
CREATE OR REPLACE TRIGGER keyledger_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON keyledger_events
    FOR EACH STATEMENT EXECUTE FUNCTION keyledger_refuse_change();
ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER keyledger_events_append_only;

-- Which ledger this is: the same after a dump and a restore, another one in a database that was made anew.
CREATE TABLE IF NOT EXISTS keyledger_ledger (
    ledger_id uuid    NOT NULL DEFAULT gen_random_uuid(),
    the_only  boolean PRIMARY KEY DEFAULT true CHECK (the_only)
);
INSERT INTO keyledger_ledger DEFAULT VALUES ON CONFLICT DO NOTHING;
CREATE OR REPLACE TRIGGER keyledger_ledger_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON keyledger_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION keyledger_refuse_change();
ALTER TABLE keyledger_ledger ENABLE ALWAYS TRIGGER keyledger_ledger_append_only;

CREATE TABLE IF NOT EXISTS current_credentials (
    tenant_id       uuid   NOT NULL,
    provider        text   NOT NULL,
    version         bigint NOT NULL,             -- version of the stream this row shows
    token           text,                        -- NULL: deleted
    binding         text,
    key_id          text,
    masked_key      text,
    endpoint        text,
    api_version     text,
    deployment_name text,
    set_at          timestamptz,                 -- when key or settings were last set; re-encryption keeps it
    stream_id       uuid   NOT NULL,             -- originator_id of its events
    PRIMARY KEY (tenant_id, provider),
    CHECK (num_nulls(token, binding, key_id, masked_key, set_at) IN (0, 5))
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS current_credentials_key_id_idx ON current_credentials (key_id) WHERE token IS NOT NULL;
COMMENT ON TABLE current_credentials IS 'View of the log: one row for each credential; token NULL means deleted.';

CREATE TABLE IF NOT EXISTS audit_trail (
    position    bigint      PRIMARY KEY,
    stream_id   uuid        NOT NULL,
    version     bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    action      text        NOT NULL,
    tenant_id   uuid,                            -- NULL: not about a credential
    provider    text,
    actor       text        NOT NULL,
    request_id  text        NOT NULL,
    command_id  text        NOT NULL,
    masked_key  text,
    key_id      text,
    details     jsonb       NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS audit_trail_stream_id_version_idx ON audit_trail (stream_id, version);
CREATE INDEX IF NOT EXISTS audit_trail_tenant_id_provider_position_idx ON audit_trail (tenant_id, provider, position);
CREATE INDEX IF NOT EXISTS audit_trail_actor_position_idx ON audit_trail (actor, position);
COMMENT ON TABLE audit_trail IS 'View of the log: one row for each event, without secrets.';

CREATE TABLE IF NOT EXISTS projection_positions (
    projection text   PRIMARY KEY,
    position   bigint NOT NULL                   -- the last position of the log that the view shows
);
COMMENT ON TABLE projection_positions IS 'How far each view that follows the log has come.';

-- Which services run on this database and which encryption keys they know. A row that was not renewed for a while is of
-- a service that ended.
CREATE TABLE IF NOT EXISTS nodes (
    node_id        uuid        PRIMARY KEY,
    name           text        NOT NULL,
    process        text        NOT NULL,         -- machine and process, so that its neighbours see whether it died
    primary_key_id text        NOT NULL,
    key_ids        text[]      NOT NULL,
    seen_at        timestamptz NOT NULL DEFAULT now()
);

-- What a rotation tells those who watch it. The progress itself is the log: deleting these rows loses nothing.
CREATE TABLE IF NOT EXISTS key_rotations (
    rotation_id      uuid        PRIMARY KEY,
    key_id           text        NOT NULL,
    actor            text        NOT NULL,
    state            text        NOT NULL,
    total            bigint      NOT NULL,
    reencrypted      bigint      NOT NULL DEFAULT 0,
    skipped          bigint      NOT NULL DEFAULT 0,
    failed           bigint      NOT NULL DEFAULT 0,
    unopened         jsonb       NOT NULL DEFAULT '[]',
    cancel_requested boolean     NOT NULL DEFAULT false,
    started_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz
);

-- What a replay that a service runs tells those who watch it. Deleting these rows loses nothing.
CREATE TABLE IF NOT EXISTS projection_replays (
    replay_id   uuid        PRIMARY KEY,
    projection  text        NOT NULL,
    actor       text        NOT NULL,
    swap        text        NOT NULL,
    state       text        NOT NULL,
    done        bigint      NOT NULL DEFAULT 0,
    total       bigint      NOT NULL DEFAULT 0,
    result      jsonb,                           -- what it found, once it is completed
    failure     text,
    started_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

-- Appends events and writes the view rows they lead to, or does neither. One call, so no client can freeze while it
-- holds the lock. The lock makes commit order and position order the same, which readers of the log rely on; it is
-- advisory, so VACUUM never waits for it. Positions come from the log itself, not from a sequence: a refused append
-- leaves no gap.
CREATE OR REPLACE FUNCTION keyledger_append(
    streams uuid[], versions bigint[], topics text[], states bytea[], view_rows jsonb
) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    head bigint;
BEGIN
    -- An acknowledged command survives a crash, whatever the server's default is. Stricter settings stay.
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit = on;
    END IF;
    PERFORM keyledger_lock_log();
    SELECT coalesce(max(notification_id), 0) INTO head FROM keyledger_events;
    RETURN QUERY
        INSERT INTO keyledger_events (originator_id, originator_version, topic, state, notification_id)
        SELECT e.stream, e.version, e.topic, e.state, head + e.nth
          FROM unnest(streams, versions, topics, states) WITH ORDINALITY AS e (stream, version, topic, state, nth)
         ORDER BY e.nth
        RETURNING notification_id;
    INSERT INTO current_credentials SELECT * FROM jsonb_populate_recordset(NULL::current_credentials, view_rows)
        ON CONFLICT (tenant_id, provider) DO UPDATE SET
            version = excluded.version, token = excluded.token, binding = excluded.binding, key_id = excluded.key_id,
            masked_key = excluded.masked_key, endpoint = excluded.endpoint, api_version = excluded.api_version,
            deployment_name = excluded.deployment_name, set_at = excluded.set_at, stream_id = excluded.stream_id;
END $$;

-- The writer lock: whoever holds it is the only one that can append until its transaction ends.
CREATE OR REPLACE FUNCTION keyledger_lock_log() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('keyledger_events'::regclass::oid::bigint);
END $$;
