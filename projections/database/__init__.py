"""Connections to PostgreSQL and what has to be there: tables, functions, rights."""
