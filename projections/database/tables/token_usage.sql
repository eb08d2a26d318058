-- Tokens and cost of calls by credential version, service key, model and hour. Not a projection: the log does not hold
-- calls. Counts are written in batches; those a service had not yet written when it was killed are lost.

CREATE TABLE IF NOT EXISTS token_usage (
    hour           timestamptz NOT NULL,            -- start of the hour, UTC
    tenant_id      uuid        NOT NULL,
    provider       text COLLATE "C" NOT NULL,
    version        bigint      NOT NULL,            -- version of the credential that was used; 0: the global key
    access_key     text COLLATE "C" NOT NULL,       -- name of the service key that called; '' for callers without one
    model          text COLLATE "C" NOT NULL,
    currency       text COLLATE "C" NOT NULL,
    calls          bigint      NOT NULL,
    failures       bigint      NOT NULL,
    unknown        bigint      NOT NULL,            -- calls whose provider sent no token counts
    unpriced       bigint      NOT NULL,            -- calls whose cost is not known
    input          bigint      NOT NULL,            -- tokens
    output         bigint      NOT NULL,
    cached         bigint      NOT NULL,
    cache_creation bigint      NOT NULL,
    reasoning      bigint      NOT NULL,
    cost           numeric     NOT NULL,
    last_used_at   timestamptz NOT NULL,
    PRIMARY KEY (hour, tenant_id, provider, version, access_key, model, currency)
);
CREATE INDEX IF NOT EXISTS token_usage_tenant_id_hour_idx ON token_usage (tenant_id, hour);
CREATE INDEX IF NOT EXISTS token_usage_access_key_hour_idx ON token_usage (access_key, hour);
COMMENT ON TABLE token_usage IS 'Tokens and cost of calls, by the hour.';

-- What no program can read. It would be an outage to everyone who reads the table.
ALTER TABLE token_usage DROP CONSTRAINT IF EXISTS token_usage_readable;
ALTER TABLE token_usage ADD CONSTRAINT token_usage_readable CHECK (
         extract(year FROM hour AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND extract(year FROM last_used_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND cost >= 0 AND cost < 'Infinity');
