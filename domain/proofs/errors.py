"""The error of everything that proves something: proofs, signed notes, tiles, audit records and their keys."""


class ProofError(ValueError):
    """A proof, signed note, tile, audit record or verifier key is malformed or does not show what it claims.

    The text says what is wrong and quotes nothing.
    """
