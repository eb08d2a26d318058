"""A service at which no one signs in."""

from collections.abc import Mapping

from api.front.people import Leading, OpenedCookie
from api.front.problems import HttpError
from domain.access.session import Session, session_ended
from domain.credentials.admission import TokenRow
from domain.events.event import CommandMeta


def sign_in_is_off() -> HttpError:
    """Return the error of a service where no one can sign in."""
    return HttpError("sign-in-off", "No one signs in here: OIDC_ISSUER is not set. Use a key.")


class NoPeople:
    """Signs no one in. Implements `People`."""

    secure = True

    async def begin(self, return_to: str) -> Leading:
        """Raise HttpError."""
        raise sign_in_is_off()

    async def finish(self, query: Mapping[str, str], cookie: str, meta: CommandMeta) -> Leading:
        """Raise HttpError."""
        raise sign_in_is_off()

    async def end(self, opened: OpenedCookie, meta: CommandMeta) -> None:
        """Raise HttpError."""
        raise sign_in_is_off()

    async def sign_out_url(self) -> str | None:
        """Return None."""
        return None

    def opened(self, cookie: str) -> OpenedCookie | None:
        """Return None."""
        del cookie
        return None

    async def read(self, opened: OpenedCookie) -> TokenRow | None:
        """Return None: a session under way ends by `require` once signing in is switched off."""
        del opened
        return None

    def require(self, opened: OpenedCookie, found: TokenRow | None) -> Session:
        """Raise AccessError."""
        del opened, found
        raise session_ended("was begun before signing in was switched off")
