"""OCSF events, one a line: changes as Entity Management, reads and refused requests as API Activity, wrong keys and
lock-outs as Authentication.

Promises: each event fits the schema of OCSF `VERSION`; what an entry holds is in the event, in `unmapped` where OCSF
has no place for it. `metadata.uid` is the position in the log, `metadata.tenant_uid` the tenant.
"""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from api.front.json_response import encode
from api.rest.audit.formats.cloud_events import subject_of
from api.rest.audit.formats.members import members, rfc_3339
from domain.audit.entries import AuditEntry
from domain.audit.event_catalogue import BY_ACTION
from domain.audit.request_events import Outcome
from domain.events.event_definition import (
    API_ACTIVITY,
    AUTHENTICATION,
    CREATE,
    DELETE,
    ENTITY_MANAGEMENT,
    LOGON,
    OTHER,
    READ,
    UPDATE,
    OcsfActivity,
    OcsfClass,
    Subject,
)

VERSION = "1.8.0"

Json = dict[str, object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_PRODUCT = "KeyLedger"
_CATEGORIES = {3: "Identity & Access Management", 6: "Application Activity"}

_METHODS: Mapping[object, OcsfActivity] = {
    "POST": CREATE,
    "GET": READ,
    "HEAD": READ,
    "PUT": UPDATE,
    "PATCH": UPDATE,
    "DELETE": DELETE,
}
_HTTP_METHODS = frozenset({*_METHODS, "OPTIONS"})

_ENTITIES: Mapping[Subject, tuple[str, str]] = {
    Subject.PROJECTION: ("projection", "projection"),
    Subject.LOG: ("log", "the log"),
    Subject.POLICY: ("policy", "credential policy"),
    Subject.PERSON: ("person", "personal data"),
    Subject.ACCESS_KEY: ("access_key", "access key"),
    Subject.TENANT: ("tenant", "tenant"),
    Subject.PROPOSAL: ("proposal", "proposal"),
}
"""Kind and name of what is neither a credential nor an encryption key."""

_SEVERITIES: Mapping[Outcome, tuple[int, str]] = {
    Outcome.SUCCESS: (1, "Informational"),
    Outcome.FAILED: (2, "Low"),
    Outcome.DENIED: (3, "Medium"),
}
_ELSEWHERE = frozenset({"position", "timestamp", "action", "tenant_id", "actor", "client_address", "request_id"})
"""Members that have a place of their own in every event."""


def row(entry: AuditEntry) -> bytes:
    """Return the entry as a line."""
    return encode(event_of(entry)) + b"\n"


def event_of(entry: AuditEntry) -> Json:
    """Return the entry as an OCSF event."""
    definition, action = BY_ACTION[entry.action]
    if action.activity is None:
        return _refused(entry)
    if definition.ocsf_class is ENTITY_MANAGEMENT:
        return _event(entry, ENTITY_MANAGEMENT, action.activity, {"entity": _entity(entry, definition.subject)})
    if definition.ocsf_class is AUTHENTICATION:
        return _logon(entry, _counted(entry), action.activity)
    about: Json = {
        "api": {"operation": entry.action.value, **_api(entry)},
        "resources": [{"name": "audit trail", "type": "audit"}],
    }
    return _event(entry, definition.ocsf_class, action.activity, about)


def _refused(entry: AuditEntry) -> Json:
    method, route, status = (entry.details.get(name) for name in ("method", "route", "status"))
    exchange: Json = {"http_request": _http_request(entry, method, route)}
    if isinstance(status, int):
        exchange["http_response"] = {"code": status}
    exchange |= _counted(entry)
    if status == 401 or entry.details.get("code") == "locked-out":
        return _logon(entry, exchange)
    about: Json = {**exchange, "api": {"operation": f"{method} {route}", **_api(entry)}}
    if subject := subject_of(entry):
        about["resources"] = [{"name": subject, "type": "credential" if entry.provider else "tenant"}]
    return _event(entry, API_ACTIVITY, _METHODS.get(method, OcsfActivity(OTHER, str(method))), about)


def _counted(entry: AuditEntry) -> Json:
    return {"count": count} if isinstance(count := entry.details.get("count"), int) else {}


def _logon(entry: AuditEntry, exchange: Json, activity: OcsfActivity = LOGON) -> Json:
    service = {"service": {"name": _PRODUCT}, "logon_type_id": 3, "logon_type": "Network"}
    return _event(entry, AUTHENTICATION, activity, {**exchange, **service, "user": _user(entry)})


def _event(entry: AuditEntry, kind: OcsfClass, activity: OcsfActivity, about: Json) -> Json:
    severity_id, severity = _SEVERITIES[entry.outcome]
    succeeded = entry.outcome is Outcome.SUCCESS
    event: Json = {
        "activity_id": activity.uid,
        "activity_name": activity.name,
        "category_uid": kind.uid // 1000,
        "category_name": _CATEGORIES[kind.uid // 1000],
        "class_uid": kind.uid,
        "class_name": kind.name,
        "type_uid": kind.uid * 100 + activity.uid,
        "type_name": f"{kind.name}: {activity.name}",
        "time": (entry.timestamp - _EPOCH) // _MILLISECOND,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1 if succeeded else 2,
        "status": "Success" if succeeded else "Failure",
        "message": f"{entry.action.value} by {_name(entry)}",
        "actor": {"user": _user(entry), "app_name": entry.source},
        "src_endpoint": _source(entry),
        "metadata": _metadata(entry),
        **about,
        "unmapped": {name: value for name, value in members(entry).items() if name not in _ELSEWHERE and value},
    }
    if code := entry.details.get("code"):
        event["status_code"] = str(code)
    return event


def _metadata(entry: AuditEntry) -> Json:
    metadata: Json = {
        "version": VERSION,
        "product": {"name": _PRODUCT, "vendor_name": _PRODUCT},
        "log_name": "audit",
        "event_code": entry.action.value,
        "uid": str(entry.position),
        "sequence": entry.position,
        "original_time": rfc_3339(entry.timestamp),
        "correlation_uid": entry.request_id,
    }
    return {**metadata, "tenant_uid": entry.tenant_id} if entry.tenant_id else metadata


def _entity(entry: AuditEntry, subject: Subject) -> Json:
    if subject is Subject.CREDENTIAL:
        kind, name = "credential", str(entry.provider)
    elif subject in _ENTITIES:
        kind, name = _ENTITIES[subject]
        name = str(entry.details.get("projection", name))
    else:
        kind, name = "encryption key", str(entry.key_id or "every key")
    entity: Json = {"type_id": OTHER, "type": kind, "name": name, "version": str(entry.version)}
    if kind == "policy":
        entity |= {"type_id": 5, "type": "Policy", "policy": {"name": name}}
    path = subject_of(entry)
    return {**entity, "uid": path, "org": {"uid": entry.tenant_id}} if path else entity


def _api(entry: AuditEntry) -> Json:
    return {"service": {"name": _PRODUCT}, "request": {"uid": entry.request_id}}


def _http_request(entry: AuditEntry, method: object, route: object) -> Json:
    request: Json = {"uid": entry.request_id}
    if method in _HTTP_METHODS:
        request["http_method"] = method
    if isinstance(route, str) and route.startswith("/"):
        request["url"] = {"path": route}
    return request


def _user(entry: AuditEntry) -> Json:
    return {"name": _name(entry), "type_id": OTHER, "type": entry.role}


def _name(entry: AuditEntry) -> str:
    """Return the name of the actor; `erased` where it can no longer be read, as OCSF requires a name."""
    return "erased" if entry.actor is None else entry.actor


def _source(entry: AuditEntry) -> Json:
    """Return where the request came from. An event of the service itself comes from the service."""
    address = entry.client_address
    if address is None:
        return {"name": entry.source}
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return {"name": address}
    return {"ip": address}
