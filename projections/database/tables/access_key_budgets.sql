-- Budgets of access keys: what each node has used of one in a period, and what it holds of the rest. Not a projection.
-- The row of the node 0 holds nothing: writers of one budget take turns at it.

CREATE TABLE IF NOT EXISTS access_key_budgets (
    access_key text COLLATE "C" NOT NULL,        -- its name
    kind       text COLLATE "C" NOT NULL,        -- of the budget
    begins     date        NOT NULL,             -- first day of the period, UTC
    unit       text COLLATE "C" NOT NULL,        -- tokens, or a currency
    node       uuid        NOT NULL,             -- one process, from its start to its end
    spent      numeric     NOT NULL,
    held       numeric     NOT NULL,             -- no other node may use it until held_until
    held_until timestamptz NOT NULL,
    PRIMARY KEY (access_key, kind, begins, unit, node)
);
COMMENT ON TABLE access_key_budgets IS 'What each node used and holds of the budgets of access keys.';

-- What no program can read. It would be an outage to everyone who reads the table.
ALTER TABLE access_key_budgets DROP CONSTRAINT IF EXISTS access_key_budgets_readable;
ALTER TABLE access_key_budgets ADD CONSTRAINT access_key_budgets_readable CHECK (
         spent >= 0 AND spent < 'Infinity'
     AND held >= 0 AND held < 'Infinity');
