"""Connections to PostgreSQL, and the tables, functions and rights the program needs there."""
