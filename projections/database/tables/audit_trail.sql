-- The projection that auditors read: one row for each event, without secrets.

CREATE TABLE IF NOT EXISTS audit_trail (
    position       bigint      PRIMARY KEY,
    stream_id      uuid        NOT NULL,
    version        bigint      NOT NULL,
    recorded_at    timestamptz NOT NULL,
    action         text        NOT NULL,
    outcome        text        NOT NULL,
    tenant_id      uuid,                    -- NULL: not about a credential
    provider       text,
    actor          text        NOT NULL,    -- this and other personal members are sealed as in the log
    role           text        NOT NULL,
    source         text        NOT NULL,
    client_address text,
    reason         text,
    request_id     text        NOT NULL,
    command_id     text        NOT NULL,
    causation_id   text,                    -- the command id of what caused the command
    node_time      timestamptz NOT NULL,    -- as the clock of the node that wrote the event told it
    masked_key     text,
    key_id         text,
    fingerprint    text,
    details        jsonb       NOT NULL,
    person         text                     -- the token of the actor; NULL: the actor is in clear
);
COMMENT ON TABLE audit_trail IS 'View of the log: one row for each event, without secrets.';

-- Indexes have the names PostgreSQL would choose: a replay then gives its copy indexes of the same names.
CREATE UNIQUE INDEX IF NOT EXISTS audit_trail_stream_id_version_idx ON audit_trail (stream_id, version);
CREATE INDEX IF NOT EXISTS audit_trail_tenant_id_provider_position_idx ON audit_trail (tenant_id, provider, position);
CREATE INDEX IF NOT EXISTS audit_trail_person_position_idx ON audit_trail (person, position);
CREATE INDEX IF NOT EXISTS audit_trail_actor_position_idx ON audit_trail (actor, position) WHERE person IS NULL;
CREATE INDEX IF NOT EXISTS audit_trail_key_id_position_idx ON audit_trail (key_id, position) WHERE key_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_trail_position_idx ON audit_trail (position) WHERE fingerprint IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_trail_outcome_position_idx ON audit_trail (outcome, position)
    WHERE outcome <> 'success';

-- Proposals, which are few, in the order in which they were made.
CREATE INDEX IF NOT EXISTS audit_trail_position_idx1 ON audit_trail (position) WHERE action = 'proposal-made';

-- One entry for each credential there ever was: finds one whose row in `current_credentials` was removed.
CREATE INDEX IF NOT EXISTS audit_trail_tenant_id_provider_idx ON audit_trail (tenant_id, provider)
    WHERE version = 1 AND action = 'set';
