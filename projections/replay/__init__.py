"""Replay: computing a projection again from the log while the live one stays in use."""
