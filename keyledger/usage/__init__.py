"""What calls used: counted by key and by tenant, written in batches, and held against budgets."""
