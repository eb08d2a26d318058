poetry run python -m intric.cli.generate_encryption_key
