"""Writes to the log, and detects a log that went backwards."""
