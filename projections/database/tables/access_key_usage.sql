-- Requests admitted by access key and hour. Not a projection: the log does not hold requests. Counts are written in
-- batches; those a service had not yet written when it was killed are lost.

CREATE TABLE IF NOT EXISTS access_key_usage (
    name         text COLLATE "C" NOT NULL,      -- of the access key
    hour         timestamptz NOT NULL,           -- start of the hour, UTC
    requests     bigint      NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (name, hour)
);
COMMENT ON TABLE access_key_usage IS 'Requests that each access key made, by the hour.';

-- What no program can read. It would be an outage to everyone who reads the table.
ALTER TABLE access_key_usage DROP CONSTRAINT IF EXISTS access_key_usage_readable;
ALTER TABLE access_key_usage ADD CONSTRAINT access_key_usage_readable CHECK (
         extract(year FROM hour AT TIME ZONE 'UTC') BETWEEN 1 AND 9998
     AND extract(year FROM last_used_at AT TIME ZONE 'UTC') BETWEEN 1 AND 9998);
