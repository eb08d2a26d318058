"""`generate-encryption-key`: a new key for the service. Printed once, on stdout, and stored nowhere."""

import typer


def generate_encryption_key() -> None:
    """Print a new ENCRYPTION_KEY, 44 characters."""
    from keyledger.encryption.keyring import generate_encryption_key as generate

    typer.echo(generate().reveal())
