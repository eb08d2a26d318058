"""Anchors: what a node knows of the end of the log, and how a database contradicts it."""
