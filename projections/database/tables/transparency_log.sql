-- The projection that proves the log: the hashes of its Merkle tree (RFC 6962), in tiles of 256 hashes as C2SP
-- tlog-tiles lays them out.

CREATE TABLE IF NOT EXISTS transparency_log (
    level  smallint NOT NULL,                    -- 0: hashes of leaves; each level above covers 256 of the one below
    tile   bigint   NOT NULL,                    -- index within the level, from 0
    hashes bytea    NOT NULL,                    -- 1 to 256 hashes of 32 bytes; fewer only in the last tile of a level
    PRIMARY KEY (level, tile),
    CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0)
);
COMMENT ON TABLE transparency_log IS 'View of the log: the hash tree that proves it.';
