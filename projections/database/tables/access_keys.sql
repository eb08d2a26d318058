-- The projection that callers' keys are found in: one row for each name, written by `keyledger_append` in the transaction
-- of its events. It leads from the digest of a token to a stream; the newest event there says what the key may do.

CREATE TABLE IF NOT EXISTS access_keys (
    name      text COLLATE "C" PRIMARY KEY,
    version   bigint NOT NULL,                   -- version of the stream that this row shows
    digest    text   NOT NULL,                   -- SHA-256 of the token, also of one that was revoked
    previous  text,                              -- SHA-256 of the token before the last rotation
    stream_id uuid   NOT NULL                    -- originator_id of its events
);
COMMENT ON TABLE access_keys IS 'View of the log: one row for each access key; it holds digests of tokens, no token.';

CREATE UNIQUE INDEX IF NOT EXISTS access_keys_digest_idx ON access_keys (digest);
CREATE UNIQUE INDEX IF NOT EXISTS access_keys_previous_idx ON access_keys (previous);
