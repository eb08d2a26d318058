"""The log as a Merkle tree, and signed statements about it."""
