"""The receipt of a call as headers of its answer: whose key served it, and which version of it."""

from domain.credentials.resolution import Receipt


def receipt_headers(receipt: Receipt) -> dict[str, str]:
    """Return the headers. Version and key id belong to a tenant's credential only."""
    headers = {"X-Credential-Source": receipt.source.value}
    if receipt.version is not None:
        headers["X-Credential-Version"] = str(receipt.version)
    if receipt.key_id is not None:
        headers["X-Credential-Key-Id"] = receipt.key_id
    return headers
