"""Refuses members by which a request would have another model than the one that was checked.

Promises: access keys are limited to models, so where a body names the model, it names one.
"""

from domain.errors import InvalidField, InvalidRequestError

_OTHER_MODELS = frozenset({"models", "fallbacks"})


def require_one_model(member: str) -> None:
    """Raise InvalidRequestError for a member that names further models, or that a server may take for the model."""
    read_as = member.strip().casefold()
    if read_as in _OTHER_MODELS:
        rule = "is not supported here: a request has one model, of the catalogue. Use the provider's own API"
        raise InvalidRequestError([InvalidField(read_as, rule)])
    if read_as == "model" and member != read_as:
        raise InvalidRequestError([InvalidField("model", "is given a second time, in another spelling")])
