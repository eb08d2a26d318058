-- The people and tenants that events are about, and the keys of their sealed members. They are kept outside the log, so
-- that destroying a key makes the members unreadable while the log and every proof stay as they are.

CREATE TABLE IF NOT EXISTS people (
    person    text        PRIMARY KEY,           -- random; stands for the name in the log
    kind      text        NOT NULL,              -- actor, address or tenant
    lookup    bytea       UNIQUE,                -- keyed digest of the name; NULL: erased
    erased_at timestamptz,
    CHECK ((lookup IS NULL) = (erased_at IS NOT NULL))
);

CREATE TABLE IF NOT EXISTS personal_keys (
    reference text  PRIMARY KEY,                 -- the person, and for people the day: `person@YYYYMMDD`
    person    text  NOT NULL,                    -- of the table `people`
    day       date,                              -- UTC; NULL: a tenant's key, which has no day
    secret_id text  NOT NULL,                    -- the secret of the ledger that the key is sealed under
    key       bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS personal_keys_person_idx ON personal_keys (person);
CREATE INDEX IF NOT EXISTS personal_keys_day_idx ON personal_keys (day);

-- The ledger's own secret while neither ENCRYPTION_KEY nor AUDIT_SIGNING_KEY is configured. The first of them moves it
-- into the log, sealed.
CREATE TABLE IF NOT EXISTS ledger_secret (
    secret   bytea   NOT NULL,
    the_only boolean PRIMARY KEY DEFAULT true CHECK (the_only)
);
