"""Deletes all credentials that a leak has hit."""
