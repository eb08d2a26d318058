"""The use of credentials and keys: counted by key and by tenant, written in batches, and limited by budgets."""
