"""The audit: recorded events, the language that searches them, and counts of credential use."""
