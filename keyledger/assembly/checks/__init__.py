"""The checks before a start, before a command and behind /readyz."""
