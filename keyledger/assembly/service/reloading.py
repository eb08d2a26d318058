"""Reloads the settings of a running service.

Promises: the new settings apply as a whole, to calls that begin afterwards, or not at all, with every error named.
Settings that only a restart can change keep their values and are reported. New keys are in the log before anything is
sealed with them. After a reload, this node can still open what is stored and what other nodes seal.
Refuses: whatever a start would refuse. No text contains the value of a setting.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from api.front.services import ReloadReport
from domain.errors import ConflictError, ErrorCode, ServiceError
from keyledger.assembly.configuration import Configuration, configuration_of
from keyledger.settings.errors import SettingsError
from keyledger.settings.settings import Settings
from keyledger.start_error import StartError

FIXED = {
    "DATABASE_URL": ("database_url",),
    "DATABASE_ADMIN_URL": ("database_admin_url",),
    "DATABASE_ROLE_STRICT": ("database_role_strict",),
    "DATA_DIR": ("data_dir",),
    "ANCHOR_DIR": ("anchor_dir",),
    "AUDIT_SIGNING_KEY": ("audit_signing_key",),
}
"""Settings that only a restart changes, with their fields in `Settings`."""

_ENABLED = "TENANT_CREDENTIALS_ENABLED"
RESTART_ONLY = frozenset({*FIXED, _ENABLED})
"""Every setting that only a restart changes."""

_log = logging.getLogger("keyledger.reload")


Decide = Callable[[Configuration], Configuration]


class Reloader:
    """Reloads the settings.

    change: replaces the configuration in force by what a function makes of it. read: returns the current settings or
    raises SettingsError. admit: returns a configuration as it will serve, or raises StartError. tell: publishes this
    node's keys to the other nodes.
    """

    def __init__(
        self,
        change: Callable[[Decide], None],
        read: Callable[[], Settings],
        admit: Callable[[Configuration], Configuration],
        tell: Callable[[], None],
    ) -> None:
        self._change = change
        self._read = read
        self._admit = admit
        self._tell = tell

    def reload(self) -> ReloadReport:
        """Apply the settings as they are now. Raises ConflictError, StoreUnavailableError."""
        report = ReloadReport((), ())

        def decide(before: Configuration) -> Configuration:
            nonlocal report
            read = self._read()
            after = self._admit(configuration_of(_with_fixed(read, before.settings)))
            report = _report(before, after, read)
            return after

        try:
            self._change(decide)
        except SettingsError as error:
            raise _refused(error.lines) from None
        except StartError as error:
            raise _refused([str(error)]) from None
        with suppress(ServiceError):  # the next beat publishes them
            self._tell()
        _log.info("settings reloaded; changed: %s", ", ".join(report.changed) or "nothing")
        for name in report.needs_restart:
            _log.warning("%s changed; the new value takes effect after a restart", name)
        for warning in report.warnings:
            _log.warning("%s", warning)
        return report

    def reload_or_log(self) -> None:
        """Reload, and log what went wrong instead of raising it."""
        try:
            self.reload()
        except ServiceError as error:
            if error.code != ErrorCode.RELOAD_REFUSED:  # that one has been logged, line by line
                _log.error("the settings were not reloaded: %s", error.code)


def _refused(errors: Sequence[str]) -> ConflictError:
    for error in errors:
        _log.error("the settings were not reloaded: %s", error)
    return ConflictError(ErrorCode.RELOAD_REFUSED, f"The settings were not reloaded: {'; '.join(errors)}")


def _with_fixed(read: Settings, before: Settings) -> Settings:
    """Return the settings that were read, except that those which only a restart changes keep their former values.

    `resolved` keeps the former values too, so every later reload reports the difference again.
    """
    was = {one.name: one for one in before.resolved}
    resolved = tuple(was.get(one.name, one) if one.name in RESTART_ONLY else one for one in read.resolved)
    read = replace(read, resolved=resolved)
    fixed = {field: getattr(before, field) for fields in FIXED.values() for field in fields}
    if read.policy.tenant_credentials == before.policy.tenant_credentials:
        return replace(read, **fixed)
    # Keys are not read while the feature is off, so they stay with the switch.
    policy = replace(read.policy, tenant_credentials=before.policy.tenant_credentials)
    keys = ("encryption_key", "next_encryption_key", "previous_encryption_keys")
    return replace(read, policy=policy, **fixed, **{field: getattr(before, field) for field in keys})


def _report(before: Configuration, after: Configuration, read: Settings) -> ReloadReport:
    was = {one.name: one.value for one in before.settings.resolved}
    differing = [one.name for one in read.resolved if one.value != was.get(one.name)]
    contents = {
        "AI_MODELS_FILE": after.catalogue != before.catalogue,
        "PROVIDERS_FILE": read.providers != before.settings.providers,
        "IDENTITY_FILE": read.identity != before.settings.identity,
        "PRICES_FILE": read.own_prices != before.settings.own_prices,
    }
    differing += [name for name, differs in contents.items() if differs and name not in differing]
    return ReloadReport(
        tuple(name for name in differing if name not in RESTART_ONLY),
        tuple(name for name in differing if name in RESTART_ONLY),
        (*read.warnings, *after.catalogue.told_left_out()),
    )
