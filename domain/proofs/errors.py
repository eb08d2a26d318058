"""The one error of proofs: evidence or a key that cannot be relied on."""


class ProofError(ValueError):
    """A proof, signed note, tile, audit record or verifier key is malformed or does not show what it claims.

    The text says what is wrong and repeats nothing of it.
    """
