"""A credential from command to event, and whose key serves a call."""
