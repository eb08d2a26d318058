"""Checks what clients request, and computes where the request goes."""
