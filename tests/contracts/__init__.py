"""Sentences that hold of each port of the domain, run on its twin in memory and on PostgreSQL."""
