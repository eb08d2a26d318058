"""Signing what the log is at a moment."""
