"""Passes calls to providers' own APIs through."""
