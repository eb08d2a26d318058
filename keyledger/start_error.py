"""The error of a service that must not start."""


class StartError(Exception):
    """The service must not start. The text names the reason and the remedy; it contains no secret."""
