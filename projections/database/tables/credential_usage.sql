-- Calls counted by credential version and hour. Not a projection: the log does not hold calls. Counts are written in
-- batches; those a service had not yet written when it was killed are lost.

CREATE TABLE IF NOT EXISTS credential_usage (
    tenant_id    uuid        NOT NULL,
    provider     text        NOT NULL,
    version      bigint      NOT NULL,           -- version of the credential that was used
    hour         timestamptz NOT NULL,           -- start of the hour, UTC
    calls        bigint      NOT NULL,
    failures     bigint      NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider, version, hour)
);
CREATE INDEX IF NOT EXISTS credential_usage_hour_idx ON credential_usage (hour);
COMMENT ON TABLE credential_usage IS 'Calls that each version of a credential served, by the hour.';

-- What no program can read. It would be an outage to everyone who reads the table.
ALTER TABLE credential_usage DROP CONSTRAINT IF EXISTS credential_usage_readable;
ALTER TABLE credential_usage ADD CONSTRAINT credential_usage_readable CHECK (
         extract(year FROM hour AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND extract(year FROM last_used_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998);
