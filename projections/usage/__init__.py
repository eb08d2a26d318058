"""Counts by the hour, and budgets: what calls used, added up in the database. Nothing here is in the log."""
