-- Which versions of the schema this database has been brought to; the newest row counts. See `migration.py`.

CREATE TABLE IF NOT EXISTS keyledger_schema (
    version    bigint      PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
-- How many additions to that version it has, which programs without them ignore.
ALTER TABLE keyledger_schema ADD COLUMN IF NOT EXISTS additions bigint NOT NULL DEFAULT 0;
