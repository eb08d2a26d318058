"""Errors of the service by their code, where one class stands for several."""

import pytest

from domain.errors import ErrorCode, ServiceError


def raises(code: ErrorCode, match: str | None = None) -> pytest.RaisesExc[ServiceError]:
    """Expect an error of this code. match: a pattern that its text holds."""
    return pytest.raises(ServiceError, match=match, check=lambda error: error.code == code)
