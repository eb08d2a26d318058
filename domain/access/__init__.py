"""Access to the service: keys of callers, what each may do, and tenants that are frozen."""
