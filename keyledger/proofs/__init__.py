"""Signed checkpoints of the log: their keys, their signing, and the last one on disk."""
