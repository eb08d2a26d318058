"""The roles of callers."""

from enum import StrEnum


class Role(StrEnum):
    """The purpose of a key. Only sysadmin may change credentials of all tenants. An operator looks after keys and
    projections.

    tenant-admin: looks after the credentials of its own tenants; only an access key has it, because it names them.
    """

    SYSADMIN = "sysadmin"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    TENANT_ADMIN = "tenant-admin"
    RUNTIME = "runtime"
