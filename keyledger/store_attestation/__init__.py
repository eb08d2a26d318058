"""Attestation of the store while a service runs, and the sentences about what is wrong with a database."""

from keyledger.store_attestation.sentences import RoleRule, sentence_of, stands_in_the_way

__all__ = ["RoleRule", "sentence_of", "stands_in_the_way"]
