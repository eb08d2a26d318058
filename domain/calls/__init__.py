"""Calls to models, in terms of the domain."""
