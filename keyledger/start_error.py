"""Why a service must not start, in words for its operator."""


class StartError(Exception):
    """The service must not start. The text names the reason and the remedy; it contains no secret."""
