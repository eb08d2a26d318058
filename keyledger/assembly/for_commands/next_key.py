"""Changes the settings file of one node for a rotation: adds the next encryption key, then makes it the only one.

Promises: only the settings file is changed; a key is written there in the form that the present key has, as a value or
as the path of a file. A former key is removed only when the log says that it is retired.
Refuses: keys that come from the environment, which no command can change; the error says what to set there.
"""

from collections.abc import Mapping, Set
from pathlib import Path

from domain.credentials.secret import Secret
from keyledger.assembly.configuration import keys_of
from keyledger.encryption.keyring import EncryptionKey
from keyledger.settings.settings import Settings, load
from keyledger.settings.settings_file import change_settings_file, setting_in
from keyledger.settings.sources import DOTENV
from keyledger.start_error import StartError

PRIMARY, NEXT, PREVIOUS = "ENCRYPTION_KEY", "ENCRYPTION_KEY_NEXT", "ENCRYPTION_KEY_PREVIOUS"


def add_next(environ: Mapping[str, str], dotenv: Path, file: Path) -> str:
    """Make the key in `file` the next one and return its key id. Does nothing if it already is.

    Raises SettingsError, StartError.
    """
    settings, key = load(environ, dotenv), _key_in(file)
    if settings.encryption_key is None:
        raise StartError("there are no encryption keys: TENANT_CREDENTIALS_ENABLED is not true")
    if settings.next_encryption_key == key:
        return EncryptionKey(key).key_id
    if settings.next_encryption_key is not None:
        raise StartError(f"{NEXT} is set already; finish that rotation first, with: keyledger keys adopt-next")
    if key in keys_of(settings):
        raise StartError(f"the key {EncryptionKey(key).key_id} is configured already")
    by_file = _is_by_file(settings, PRIMARY)
    change = {f"{NEXT}_FILE": str(file.absolute())} if by_file else {NEXT: key.reveal()}
    change_settings_file(dotenv, environ, change)
    return EncryptionKey(key).key_id


def adopt_next(environ: Mapping[str, str], dotenv: Path, retired: Set[str]) -> str:
    """Make the next key ENCRYPTION_KEY, remove the former keys, and return its key id.

    retired: ids of the keys that the log says are retired. Raises SettingsError, StartError.
    """
    settings = load(environ, dotenv)
    coming = settings.next_encryption_key
    if coming is None:
        raise StartError(f"{NEXT} is not set; begin with: keyledger keys add-next FILE")
    former = [EncryptionKey(key).key_id for key in keys_of(settings) if key != coming]
    if needed := [key_id for key_id in former if key_id not in retired]:
        raise StartError(f"not retired yet: {', '.join(needed)}; retire each with: keyledger keys retire KEY_ID")
    by_file = _is_by_file(settings, PRIMARY)
    if by_file != _is_by_file(settings, NEXT):
        raise StartError(f"{PRIMARY} and {NEXT} are not both given as values or both as files; adopt the key by hand")
    suffix = "_FILE" if by_file else ""
    value = setting_in(dotenv, f"{NEXT}{suffix}") if by_file else coming.reveal()
    gone = {f"{name}{form}": None for name in (NEXT, PREVIOUS) for form in ("", "_FILE")}
    change_settings_file(dotenv, environ, {**gone, f"{PRIMARY}{suffix}": value})
    return EncryptionKey(coming).key_id


def _is_by_file(settings: Settings, name: str) -> bool:
    """Say whether the settings file gives a key as the path of a file. Raises StartError if it gives none."""
    source = next(one.source for one in settings.resolved if one.name == name)
    if not source.startswith(DOTENV):
        raise StartError(f"{name} comes from the {source}, not from {DOTENV}: change {NEXT} and {PRIMARY} there")
    return source != DOTENV


def _key_in(file: Path) -> Secret:
    try:
        key = Secret(file.read_text(encoding="ascii").strip())
        EncryptionKey(key)
    except OSError as problem:
        raise StartError(f"cannot read the file with the key: {problem.strerror}") from None
    except ValueError:
        raise StartError(
            "the file does not contain an encryption key; make one with: keyledger generate-encryption-key"
        ) from None
    return key
