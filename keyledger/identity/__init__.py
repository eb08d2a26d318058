"""Callers whom an issuer vouches for: its keys, its tokens, and what the operator's rules make of them."""
