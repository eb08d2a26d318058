"""Four eyes: commands that the operator wants a second person for, as proposals in the log."""
