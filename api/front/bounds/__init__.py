"""Bounds on what one caller can hold, so that nobody holds up the others."""
