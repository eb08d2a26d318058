"""The audit trail: its rows, kept up to date with the log, and the search in them."""
