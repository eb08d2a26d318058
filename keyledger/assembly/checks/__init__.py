"""What is checked before a start, before a command and behind /readyz."""
