"""Calls to models in the domain's words."""
