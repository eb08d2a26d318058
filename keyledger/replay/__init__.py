"""Replays that a service runs and records."""
