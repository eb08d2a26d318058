"""The addresses at which an issuer of tokens is asked.

Promises: an address that passed is asked with TLS, or is on this machine, so that no one between can replace the keys
that tokens are checked with.
"""

from urllib.parse import urlsplit

from domain.endpoints.addresses import Reachability, address_in, reachability
from domain.endpoints.rules import OPERATORS_OWN, EndpointRules, endpoint_error

QUERY_MAX = 512


def issuer_address_error(url: str, rules: EndpointRules = OPERATORS_OWN) -> str | None:
    """Return what is wrong with an address, or None. It completes "NAME ..." and never repeats the address.

    Unlike an endpoint it may have a query. rules: by default, those for addresses that the operator wrote down.
    """
    base, _, query = url.partition("?")
    if error := endpoint_error(base, rules):
        return error
    if len(query) > QUERY_MAX or not query.isprintable() or "#" in query or " " in query:
        return f"must have a query of at most {QUERY_MAX} printable characters, or none"
    return None if _is_confidential(base) else "must start with https://; only this machine may be asked over http"


def _is_confidential(url: str) -> bool:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    address = address_in(host)
    here = host == "localhost" if address is None else reachability(address) is Reachability.LOOPBACK
    return parts.scheme == "https" or here
