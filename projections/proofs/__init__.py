"""The hash tree over the log, as a projection."""
