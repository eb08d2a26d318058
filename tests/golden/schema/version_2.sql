-- Version 2: what an auditor sees of each event grows, and a Merkle tree over it makes the log provable.
-- What is here before is kept; events from before tell nothing of role, source, address and reason.

ALTER TABLE audit_trail
    ADD COLUMN IF NOT EXISTS outcome        text NOT NULL DEFAULT 'success',
    ADD COLUMN IF NOT EXISTS role           text NOT NULL DEFAULT 'unknown',
    ADD COLUMN IF NOT EXISTS source         text NOT NULL DEFAULT 'unknown',
    ADD COLUMN IF NOT EXISTS client_address text,
    ADD COLUMN IF NOT EXISTS reason         text,
    ADD COLUMN IF NOT EXISTS fingerprint    text;
CREATE INDEX IF NOT EXISTS audit_trail_fingerprint_idx ON audit_trail (fingerprint) WHERE fingerprint IS NOT NULL;

-- The hashes of the Merkle tree over the log (RFC 6962), in tiles of 256 as C2SP tlog-tiles lays them out.
CREATE TABLE IF NOT EXISTS transparency_log (
    level  smallint NOT NULL,                    -- 0: hashes of leaves; each level above covers 256 of the one below
    tile   bigint   NOT NULL,                    -- index within the level, from 0
    hashes bytea    NOT NULL,                    -- 1 to 256 hashes of 32 bytes; fewer only in the last tile of a level
    PRIMARY KEY (level, tile),
    CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0)
);
COMMENT ON TABLE transparency_log IS 'View of the log: the hash tree that proves it.';

-- Who used a credential, counted. Written in batches; what a service that was killed had not written yet is not counted.
CREATE TABLE IF NOT EXISTS credential_usage (
    tenant_id    uuid        NOT NULL,
    provider     text        NOT NULL,
    version      bigint      NOT NULL,           -- of the credential that was used
    hour         timestamptz NOT NULL,           -- its first moment, UTC
    calls        bigint      NOT NULL,
    failures     bigint      NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider, version, hour)
);
CREATE INDEX IF NOT EXISTS credential_usage_hour_idx ON credential_usage (hour);
COMMENT ON TABLE credential_usage IS 'Calls that each version of a credential served, by the hour.';
