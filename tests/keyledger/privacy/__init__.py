"""Erasure, upkeep and reports."""
