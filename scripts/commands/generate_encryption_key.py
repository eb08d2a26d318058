"""`generate-encryption-key`: prints a new encryption key once, on stdout, and stores it nowhere."""

import typer


def generate_encryption_key() -> None:
    """Print a new ENCRYPTION_KEY (44 characters)."""
    from keyledger.encryption.keyring import generate_encryption_key as generate

    typer.echo(generate().reveal())
