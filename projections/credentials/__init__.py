"""Credentials as they are now and as they were, by tenant, by encryption key and across the fleet."""
