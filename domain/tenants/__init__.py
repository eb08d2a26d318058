"""The operator's rules for tenants: which are frozen, which are registered, and what each may use."""
