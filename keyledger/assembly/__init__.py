"""Puts the parts together: for the service, for commands, for programs that embed it, and again at a reload."""
