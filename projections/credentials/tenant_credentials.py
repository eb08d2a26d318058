"""The statement behind a tenant's list of credentials, and how its rows are read.

Promises: one statement reads a credential's row, the head of its stream, its last use, and whether its provider accepts
it, all in one snapshot. A row that was tampered with, removed or restored differs from the head of its
stream.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from domain.credentials.acceptance import CredentialRejected, acceptance_stream
from domain.credentials.credential import Credential, CredentialDeleted, evolve, stream_id
from domain.credentials.fleet import CredentialPlace, Lodged
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import SealedSecret
from domain.credentials.stored import Head, Stored
from domain.event_codec import decode
from domain.events.event import Event
from projections.database.connections import Connection, Row
from projections.database.numbered import text_array

# For administrators only: resolving a call needs neither the last use nor the provider's verdict. The use of an earlier
# version counts for the current one if the key has only been re-encrypted since. `whole`: tenants whose credentials for
# providers outside `names` (providers an operator has removed) are read too.
OF_TENANTS = """
SELECT c.*, h.originator_version AS head_version, h.topic AS head_topic, wanted.stream,
       wanted.of_tenant, wanted.provider AS of_provider,
       CASE WHEN c.token IS NULL THEN h.state END AS recorded,
       CASE WHEN u.version >= coalesce(k.version, h.originator_version) THEN u.last_used_at END AS last_used_at,
       CASE WHEN h.originator_version = (convert_from(a.state, 'UTF8')::jsonb ->> 'credential_version')::bigint
            THEN a.topic END AS answered
  FROM (SELECT *
          FROM unnest(%(tenants)s::uuid[], %(providers)s::text[], %(streams)s::uuid[], %(acceptances)s::uuid[])
               AS known (of_tenant, provider, stream, acceptance)
         UNION ALL
        SELECT one.tenant_id, one.provider, one.stream_id, NULL FROM current_credentials AS one
         WHERE one.tenant_id = ANY (%(whole)s::uuid[]) AND one.provider <> ALL (%(names)s::text[])) AS wanted
  LEFT JOIN LATERAL (SELECT * FROM current_credentials AS one
                      WHERE one.tenant_id = wanted.of_tenant AND one.provider = wanted.provider LIMIT 1) AS c ON true
  LEFT JOIN LATERAL (SELECT originator_version, topic, state FROM keyledger_events
                      WHERE originator_id = wanted.stream ORDER BY originator_version DESC LIMIT 1) AS h ON true
  LEFT JOIN LATERAL (SELECT topic, state FROM keyledger_events
                      WHERE originator_id = wanted.acceptance ORDER BY originator_version DESC LIMIT 1) AS a ON true
  LEFT JOIN LATERAL (SELECT one.version, one.last_used_at FROM credential_usage AS one
                      WHERE h.topic IS NOT NULL AND one.tenant_id = wanted.of_tenant AND one.provider = wanted.provider
                      ORDER BY one.version DESC, one.hour DESC LIMIT 1) AS u ON true
  LEFT JOIN LATERAL (SELECT originator_version AS version FROM keyledger_events
                      WHERE u.version < h.originator_version
                        AND originator_id = wanted.stream AND topic = 'CredentialSet'
                      ORDER BY originator_version DESC LIMIT 1) AS k ON true
 WHERE c.tenant_id IS NOT NULL OR h.topic IS NOT NULL
 ORDER BY wanted.provider
"""
NO_OTHERS = {"whole": "{}", "names": "{}"}


def lodged_at(connection: Connection, places: Sequence[CredentialPlace]) -> list[Lodged]:
    """Return what a tenant's list is made from for each place, in their order, by the same statement.

    A place unknown to both the projection and the log is left out. Raises psycopg.Error, CredentialIntegrityError.
    """
    rows = connection.execute(OF_TENANTS, _wanted(places)).fetchall()
    found = {CredentialPlace(str(row["of_tenant"]), row["of_provider"]): row for row in rows}
    return [Lodged(place, stored_of(found[place]), _changed_at(found[place])) for place in places if place in found]


def _changed_at(row: Row) -> datetime | None:
    set_at: datetime | None = row["set_at"]
    if row["recorded"] is None:
        return set_at
    last = _recorded(row)
    return last.timestamp if isinstance(last, CredentialDeleted) else evolve(last).set_at


def _wanted(places: Sequence[CredentialPlace]) -> Mapping[str, str]:
    return {
        "tenants": text_array(tenant_id for tenant_id, _ in places),
        "providers": text_array(provider for _, provider in places),
        "streams": text_array(str(stream_id(*place)) for place in places),
        "acceptances": text_array(str(acceptance_stream(*place)) for place in places),
        **NO_OTHERS,
    }


def of_tenants(tenants: Sequence[str], providers: tuple[str, ...]) -> Mapping[str, str]:
    """Return every provider of every tenant as arrays in PostgreSQL's notation."""
    streams = [_streams(tenant_id, providers) for tenant_id in tenants]
    return {
        "tenants": text_array(tenant_id for tenant_id in tenants for _ in providers),
        "providers": text_array(providers * len(tenants)),
        "streams": text_array(credentials for credentials, _ in streams),
        "acceptances": text_array(acceptances for _, acceptances in streams),
        "whole": text_array(tenants),
        "names": text_array(providers),
    }


@lru_cache(maxsize=2048)
def _streams(tenant_id: str, providers: tuple[str, ...]) -> tuple[str, str]:
    """Return the streams of a tenant's credentials, and those that record whether providers accept them."""
    return (
        ",".join(str(stream_id(tenant_id, provider)) for provider in providers),
        ",".join(str(acceptance_stream(tenant_id, provider)) for provider in providers),
    )


def listed(rows: Iterable[Row]) -> list[Stored]:
    """Return what rows of `OF_TENANTS` say, without credentials that are deleted."""
    found = [stored_of(row) for row in rows]
    return [stored for stored in found if stored.shown is not None]


def stored_of(row: Row) -> Stored:
    """Return what a row of `OF_TENANTS` says of its place. Raises CredentialIntegrityError."""
    own = row["stream"] == stream_id(str(row["of_tenant"]), row["of_provider"])
    head = Head(row["head_version"], row["head_topic"]) if own and row["head_version"] is not None else None
    shown = credential_of(row) if row["tenant_id"] is not None else None
    live = head is not None and head.topic != CredentialDeleted.TOPIC
    return Stored(
        shown,
        head,
        evolve(_recorded(row)) if live and row["recorded"] is not None else None,
        rejected=row["answered"] == CredentialRejected.TOPIC,
        answered=row["answered"] is not None,
        last_used_at=row["last_used_at"],
    )


def _recorded(row: Row) -> Event:
    return decode(row["stream"], row["head_version"], row["head_topic"], bytes(row["recorded"]))


def credential_of(row: Row) -> Credential:
    """Return the credential that a row of `current_credentials` shows."""
    sealed = SealedSecret(row["token"], row["binding"], row["key_id"]) if row["token"] is not None else None
    return Credential(
        str(row["tenant_id"]),
        row["provider"],
        row["version"],
        sealed,
        row["masked_key"],
        CredentialConfig(row["endpoint"], row["api_version"], row["deployment_name"]),
        row["set_at"],
    )
