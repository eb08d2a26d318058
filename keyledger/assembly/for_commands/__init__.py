"""The parts of commands that change the ledger on the database itself, without a service."""
