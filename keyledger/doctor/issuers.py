"""Whether the issuers that the operator trusts, for programs and for people, answer with their keys.

Promises: every issuer is asked as a service would ask it, all at the same time, within `PATIENCE_S` seconds.
"""

import asyncio
from collections.abc import Iterator

from domain.access.identity import Issuer
from domain.errors import AccessError
from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok
from keyledger.identity.issuer_client import IssuerClient
from keyledger.identity.issuer_keys import client_of, read_keys
from keyledger.settings.settings import Settings

SUBJECT = "issuers"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report the issuers whose keys cannot be read, with the reason."""
    settings = here.known_settings()
    issuers = [*settings.identity.issuers, *_of_people(settings)]

    async def reasons() -> list[str | None]:
        rules = settings.endpoint_rules
        return await asyncio.gather(*(_reason(one, client_of(one, rules)) for one in issuers))

    found = dict(zip(issuers, asyncio.run(reasons()), strict=True))
    for issuer, reason in found.items():
        if reason is not None:
            said = f"the keys of the issuer {issuer.name} cannot be read ({reason}): its tokens are refused"
            yield fault(SUBJECT, said, f"curl -v {issuer.jwks_url or issuer.url}")
    if not issuers:
        yield ok(SUBJECT, "no issuer is trusted, and no one signs in")
    elif not any(found.values()):
        yield ok(SUBJECT, f"every trusted issuer answers with its keys ({len(issuers)})")


def _of_people(settings: Settings) -> list[Issuer]:
    """Return the provider at which people sign in, if there is one."""
    at, people = settings.identity.sign_in, settings.identity.people
    if at is None or people is None:
        return []
    return [Issuer("OIDC_ISSUER", at.issuer, (at.client_id,), people.algorithms, people.rules, ca_file=people.ca_file)]


async def _reason(issuer: Issuer, client: IssuerClient) -> str | None:
    try:
        await read_keys(issuer.url, issuer.jwks_url, client)
    except AccessError as error:
        return error.reason
    return None
