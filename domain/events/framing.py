"""Parts written one after the other with the length before each, so that no two lists of parts give the same bytes."""


def framed(*parts: bytes) -> bytes:
    """Return the parts, each preceded by its length as four bytes, the highest first."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])
