-- The operator's rules for tenants, one row for each tenant that has an event, written by `keyledger_append` in the
-- transaction of its events. It finds and lists them; the newest event of the tenant's stream says what they are.

CREATE TABLE IF NOT EXISTS tenants (
    tenant_id  uuid    PRIMARY KEY,
    version    bigint  NOT NULL,                 -- version of the stream that this row shows
    frozen     boolean NOT NULL,
    registered boolean NOT NULL
);
COMMENT ON TABLE tenants IS 'View of the log: one row for each tenant that is registered, frozen or has a policy.';
