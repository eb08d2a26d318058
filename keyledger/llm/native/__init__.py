"""The providers' own APIs, passed through."""
