"""Settings that bound what one caller can hold, and how many connections the machine allows.

Every bound has a default that serves an ordinary platform. 0 switches a bound on requests in a minute off.
"""

import sys

from api.front.bounds.chosen import MIB, Bounds
from keyledger.settings.sources import Sources

_USUAL = Bounds()
_CONNECTIONS_MAX = 100_000
_PER_MINUTE_MAX = 10_000_000
_MIB_MAX = 1024 * 1024
_BODY_MIB_MIN = 8  # the longest body of a call
_DESCRIPTORS_FOR_OTHERS = 64
_DESCRIPTORS_EACH = 2  # a call holds a connection to its provider too
_DESCRIPTORS_WANTED = _DESCRIPTORS_FOR_OTHERS + _DESCRIPTORS_EACH * _USUAL.connections


def read_bounds(sources: Sources) -> Bounds:
    """Return the bounds. More connections than there can be file descriptors are as many as there can be."""
    wanted = sources.whole("MAX_CONNECTIONS", _USUAL.connections, 10, _CONNECTIONS_MAX)
    possible = possible_connections()
    if possible < wanted and sources.is_set("MAX_CONNECTIONS"):
        sources.warn("MAX_CONNECTIONS", f"the limit of file descriptors (ulimit -n) allows only {possible}")
    body_mib = sources.whole("BODY_MIB", _USUAL.body_bytes // MIB, _BODY_MIB_MIN, _MIB_MAX)
    key_body_mib = sources.whole("KEY_BODY_MIB", max(_BODY_MIB_MIN, body_mib // 3), _BODY_MIB_MIN, _MIB_MAX)
    return Bounds(
        connections=min(wanted, possible),
        address_connections=sources.whole(
            "MAX_CONNECTIONS_PER_ADDRESS", _USUAL.address_connections, 1, _CONNECTIONS_MAX
        ),
        key_share=sources.whole("KEY_SHARE", _USUAL.key_share, 1, 100),
        call_share=sources.whole("CALL_SHARE", _USUAL.call_share, 1, 100),
        tenant_share=sources.whole("TENANT_SHARE", _USUAL.tenant_share, 1, 100),
        provider_share=sources.whole("PROVIDER_SHARE", _USUAL.provider_share, 1, 100),
        key_requests=sources.whole("KEY_REQUESTS_PER_MINUTE", 0, 0, _PER_MINUTE_MAX),
        tenant_calls=sources.whole("TENANT_CALLS_PER_MINUTE", 0, 0, _PER_MINUTE_MAX),
        provider_calls=sources.whole("PROVIDER_CALLS_PER_MINUTE", 0, 0, _PER_MINUTE_MAX),
        key_body_bytes=MIB * key_body_mib,
        body_bytes=MIB * body_mib,
        reader_seconds=sources.whole("READER_SECONDS", _USUAL.reader_seconds, 1, 3600),
    )


def possible_connections() -> int:
    """Return how many connections the file descriptors of this process allow."""
    if sys.platform == "win32":
        return _CONNECTIONS_MAX
    import resource

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return _CONNECTIONS_MAX
    return max(1, (descriptors - _DESCRIPTORS_FOR_OTHERS) // _DESCRIPTORS_EACH)


def allow_descriptors() -> None:
    """Raise this process's soft limit of file descriptors to what the default bounds need, where the hard one allows.

    Many systems set the soft limit to 1,024 for the sake of programs that use select(2), which this one does not.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
