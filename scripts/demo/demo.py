"""The demo's own keys, settings and catalogue of models.

Promises: the demo uses no setting or key of the user, and `serve` does not use the demo's; its keys are in
DATA_DIR/demo, readable by their owner only, and are reused by the next run, since the demo's database would be
unreadable without them. The admin key is new on each run and stored nowhere.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.secret import Secret

DATABASE = "keyledger_demo"
MODELS = {
    "openai": "gpt-demo",
    "anthropic": "claude-demo",
    "azure": "azure-demo",
    "mistral": "mistral-demo",
    "vllm": "vllm-demo",
}
"""The demo's model for each provider in the tour."""


def new_key(prefix: str) -> Secret:
    """Return a random key that starts with `prefix`, as providers' keys and the service's own do."""
    return Secret(f"{prefix}-{secrets.token_hex(16)}")


def demo_environment(data_dir: Path, provider_url: str, admin_key: Secret, global_key: Secret) -> dict[str, str]:
    """Return the demo's settings as environment variables.

    provider_url: the stand-in for every provider. global_key: the platform's key for mistral.
    """
    folder = data_dir / "demo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "TENANT_CREDENTIALS_ENABLED": "true",
        "ENCRYPTION_KEY": _encryption_key(folder / "encryption-key").reveal(),
        # As on several nodes: every node knows the new key before any node seals under it.
        "ENCRYPTION_KEY_PREVIOUS": _encryption_key(folder / "encryption-key-next").reveal(),
        # The demo must survive the loss of its key: credentials sealed under it are shown as unreadable.
        "ALLOW_UNREADABLE_CREDENTIALS": "true",
        "SUPER_API_KEY": admin_key.reveal(),
        "AUDIT_SIGNING_KEY": _signing_key(folder).reveal(),
        "AI_MODELS_FILE": str(_catalogue(folder / "ai_models.yml")),
        "DATA_DIR": str(folder),  # its database is not that of `serve`
        "MISTRAL_API_KEY": global_key.reveal(),
        **{row.setting("base_url"): f"{provider_url}/{name}/v1" for name, row in BUILT_IN.items() if row.base_url},
        "ENDPOINT_ALLOWED_HOSTS": urlsplit(provider_url).netloc,
        "LOG_LEVEL": "error",
    }


def promoted(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with the next encryption key as the primary one."""
    old, new = environment["ENCRYPTION_KEY"], environment["ENCRYPTION_KEY_PREVIOUS"]
    return {**environment, "ENCRYPTION_KEY": new, "ENCRYPTION_KEY_PREVIOUS": old}


def verifier_key(data_dir: Path) -> str:
    """Return the public key (vkey) that verifies the demo's checkpoints, once its service has run."""
    from keyledger.log.anchors.anchor import AnchorFile
    from keyledger.proofs.signing_keys import LogSigner

    folder = data_dir / "demo"
    anchor = AnchorFile(folder).read()
    return LogSigner(_signing_key(folder)).of_ledger(anchor.ledger_id if anchor is not None else "").vkey


def _encryption_key(path: Path) -> Secret:
    from keyledger.encryption.keyring import generate_encryption_key

    return _kept(path, generate_encryption_key)


def _signing_key(folder: Path) -> Secret:
    from keyledger.proofs.signing_keys import generate_signing_key

    return _kept(folder / "audit-signing-key", generate_signing_key)


def _kept(path: Path, make: Callable[[], Secret]) -> Secret:
    """Return a key of the demo, created on the first run; of two concurrent first runs, one creates it."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(make().reveal())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # a concurrent run was first; its key is used
        finally:
            draft.unlink()
    return Secret(path.read_text(encoding="ascii").strip())


def _catalogue(path: Path) -> Path:
    """Write the demo's models, as JSON, which is also YAML."""
    entries = [
        {"name": name, "family": provider, "litellm_model_name": f"{provider}/{name}"}
        for provider, name in MODELS.items()
    ]
    path.write_text(json.dumps({"completion_models": entries, "embedding_models": []}, indent=2), encoding="utf-8")
    return path
