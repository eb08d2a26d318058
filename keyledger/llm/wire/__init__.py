"""Sends requests with their keys, and reads the responses without them."""
