"""Recorders of what a running service does: requests and reads, acceptance by providers, the policy it started with."""
