-- Version 3: the credentials of all tenants can be paged through, and a node tells which program it runs.

-- The places of a provider, and those under an encryption key, in the order of the pages.
CREATE INDEX IF NOT EXISTS current_credentials_provider_tenant_id_idx ON current_credentials (provider, tenant_id);
CREATE INDEX IF NOT EXISTS current_credentials_key_id_tenant_id_provider_idx
    ON current_credentials (key_id, tenant_id, provider) WHERE token IS NOT NULL;

-- One entry for each credential there ever was: what finds one whose row in the view is gone.
CREATE INDEX IF NOT EXISTS audit_trail_tenant_id_provider_idx ON audit_trail (tenant_id, provider)
    WHERE version = 1 AND action = 'set';

ALTER TABLE nodes ADD COLUMN IF NOT EXISTS version text NOT NULL DEFAULT '';   -- of the program; '' where it is older
