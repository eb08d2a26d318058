"""Views computed from the log, in PostgreSQL.

current_credentials  what is in effect now; written with the events, in their transaction
audit_trail          who did what when; catches up with the log before it is read

Every view is a pure function of events, so it can be dropped and computed again. Nothing here decrypts.
"""
