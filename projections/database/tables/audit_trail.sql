-- The projection that auditors read: one row for each event, without secrets.

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
COMMENT ON TABLE audit_trail IS 'View of the log: one row for each event, without secrets.';

-- Since version 2. Earlier events did not record role, source, address and reason.
ALTER TABLE audit_trail
    ADD COLUMN IF NOT EXISTS outcome        text NOT NULL DEFAULT 'success',
    ADD COLUMN IF NOT EXISTS role           text NOT NULL DEFAULT 'unknown',
    ADD COLUMN IF NOT EXISTS source         text NOT NULL DEFAULT 'unknown',
    ADD COLUMN IF NOT EXISTS client_address text,
    ADD COLUMN IF NOT EXISTS reason         text,
    ADD COLUMN IF NOT EXISTS fingerprint    text;

-- Indexes have the names PostgreSQL would choose: a replay then gives its copy indexes of the same names.
CREATE UNIQUE INDEX IF NOT EXISTS audit_trail_stream_id_version_idx ON audit_trail (stream_id, version);
CREATE INDEX IF NOT EXISTS audit_trail_tenant_id_provider_position_idx ON audit_trail (tenant_id, provider, position);
CREATE INDEX IF NOT EXISTS audit_trail_actor_position_idx ON audit_trail (actor, position);
CREATE INDEX IF NOT EXISTS audit_trail_fingerprint_idx ON audit_trail (fingerprint) WHERE fingerprint IS NOT NULL;

-- One entry for each credential there ever was: finds one whose row in `current_credentials` was removed.
CREATE INDEX IF NOT EXISTS audit_trail_tenant_id_provider_idx ON audit_trail (tenant_id, provider)
    WHERE version = 1 AND action = 'set';
