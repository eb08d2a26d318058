"""Checks and bounds what providers respond with, before any library parses it."""
