"""Recorded requests and answers: how each kind of provider is spoken to, and what becomes of what it says."""
