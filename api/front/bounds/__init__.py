"""Bounds on what one caller can hold, so that no caller holds up the others."""
