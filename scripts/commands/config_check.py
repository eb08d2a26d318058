"""`config check`: shows the settings that a start would use, where each comes from, and every error in them.

Promises: read-only; it starts nothing, connects nowhere and shows no secret. It covers settings and catalogue; `doctor`
examines the rest.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.settings.settings import Settings
    from keyledger.settings.sources import Resolved


def check(as_json: JsonOption = False, wide: WideOption = False) -> None:
    """Show all settings and their sources. Secrets are masked. Exits with 1 and all errors if a start would fail."""
    from keyledger.settings.errors import SettingsError
    from keyledger.settings.file_modes import exposure_warnings
    from keyledger.settings.settings import load

    try:
        settings = load(OF_THIS_PROCESS, Path(".env"))
        errors, notes = _catalogue(settings)
    except SettingsError as error:
        settings, errors, notes = None, error.lines, []
    warnings = [*(settings.warnings if settings else ()), *notes, *exposure_warnings(OF_THIS_PROCESS, Path(".env"))]
    if as_json:
        print_json(_report(settings, errors, warnings))
    elif settings is not None:
        rows = [(one.name, one.shown, one.source) for one in _resolved(settings)]
        print_table(Table(("setting", "value", "source"), rows), wide=wide)
        for warning in warnings:
            say(f"warning: {warning}")
    if errors:
        raise CommandError(Exit.ERROR_FOUND, *errors)
    say("settings and catalogue are valid; to check database, keys and the rest: keyledger doctor")


def _catalogue(settings: "Settings") -> tuple[tuple[str, ...], list[str]]:
    """Return the catalogue's errors and the notes about it."""
    from keyledger.settings.ai_models import load_catalogue
    from keyledger.settings.catalogue_notes import catalogue_notes
    from keyledger.settings.errors import SettingsError

    try:
        catalogue = load_catalogue(settings.ai_models_file, settings.providers)
    except SettingsError as error:
        return tuple(f"AI_MODELS_FILE: {line}" for line in error.lines), []
    notes = catalogue_notes(catalogue, settings.providers, datetime.now(UTC).date())
    return (), notes


def _resolved(settings: "Settings") -> list["Resolved"]:
    """Return the settings in printable form; encryption keys are shown by their key ids."""
    from keyledger.encryption.keyring import EncryptionKey

    keys = {
        "ENCRYPTION_KEY": [settings.encryption_key] if settings.encryption_key else [],
        "ENCRYPTION_KEY_NEXT": [settings.next_encryption_key] if settings.next_encryption_key else [],
        "ENCRYPTION_KEY_PREVIOUS": list(settings.previous_encryption_keys),
    }
    ids = {name: ", ".join(EncryptionKey(key).key_id for key in listed) for name, listed in keys.items() if listed}
    return [replace(one, shown=f"*** {ids[one.name]}") if one.name in ids else one for one in settings.resolved]


def _report(settings: "Settings | None", errors: tuple[str, ...], warnings: list[str]) -> dict[str, object]:
    resolved = _resolved(settings) if settings else []
    return {
        "ok": not errors,
        "faults": list(errors),
        "warnings": warnings,
        "settings": [{"name": one.name, "value": one.shown, "source": one.source} for one in resolved],
    }
