-- The projection that calls are resolved from: one row for each credential, written by `keyledger_append` in the
-- transaction of its events.

CREATE TABLE IF NOT EXISTS current_credentials (
    tenant_id       uuid   NOT NULL,
    provider        text   NOT NULL,
    version         bigint NOT NULL,             -- version of the stream that this row shows
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
COMMENT ON TABLE current_credentials IS 'View of the log: one row for each credential; token NULL means deleted.';

-- Indexes have the names PostgreSQL would choose: a replay then gives its copy indexes of the same names.
CREATE INDEX IF NOT EXISTS current_credentials_key_id_idx ON current_credentials (key_id) WHERE token IS NOT NULL;

-- Pages over all tenants, by provider and by encryption key.
CREATE INDEX IF NOT EXISTS current_credentials_provider_tenant_id_idx ON current_credentials (provider, tenant_id);
CREATE INDEX IF NOT EXISTS current_credentials_key_id_tenant_id_provider_idx
    ON current_credentials (key_id, tenant_id, provider) WHERE token IS NOT NULL;

-- What no program can read. It would be an outage to everyone who reads the table.
ALTER TABLE current_credentials DROP CONSTRAINT IF EXISTS current_credentials_readable;
ALTER TABLE current_credentials ADD CONSTRAINT current_credentials_readable CHECK (
         extract(year FROM set_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998);
