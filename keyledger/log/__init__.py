"""Writing to the log, and noticing that it went backwards."""
