"""How often events are decided again when they could not be appended, and when their outcome is looked up.

Promises: events are decided again after a conflict. After an outage it is unknown whether they were stored: they are
looked up once, by deciding again. After a second outage in a row, or `TRIES` failures, the last error is raised.
"""

from collections.abc import Callable

from domain.errors import StoreUnavailableError, VersionConflictError

TRIES = 8


class AppendTries:
    """The tries of one command. failure: why the last one failed, None before that."""

    failure: VersionConflictError | StoreUnavailableError | None = None

    def __init__(self) -> None:
        self._left = TRIES

    def appended(self, append: Callable[[], object]) -> bool:
        """Call `append`; say whether it succeeded, or else its events are to be decided again.

        Raises VersionConflictError, StoreUnavailableError.
        """
        self._left -= 1
        try:
            append()
        except (VersionConflictError, StoreUnavailableError) as error:
            if not self._left or (_is_outage(error) and _is_outage(self.failure)):
                raise
            self.failure = error
            return False
        return True


def _is_outage(error: Exception | None) -> bool:
    return isinstance(error, StoreUnavailableError)
