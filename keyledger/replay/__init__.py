"""Replays that a service runs and logs."""
