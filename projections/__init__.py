"""Projections: tables in PostgreSQL that are computed from the log.

current_credentials  the credentials in effect now; written with the events, in their transaction
audit_trail          who did what when; catches up with the log before it is read
transparency_log     the hash tree that proves the log; catches up in the same way

A projection is a pure function of events, so a replay can compute it again. Nothing here decrypts.
"""
