"""Credentials, from command to event, and the choice of the key that serves a call."""
