"""Verify an evidence bundle of KeyLedger without KeyLedger: `verify_bundle.py BUNDLE_DIR VERIFIER_KEY`.

Written from docs/evidence.md; leaves out earlier checkpoints, witnesses, README.txt and the order of events."""

import base64
import hmac
import json
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MEMBERS = """actor causation_id client_address command_id details event fingerprint key_id masked_key node_time outcome
    position provider reason request_id role source stream tenant_id time type version"""
NOTE = r"\A((\S+)\n(0|[1-9][0-9]*)\n(\S+)\n)\n((?:— \S+ \S+\n)+)\Z"
FORMAT = "keyledger-tenant-evidence/v1"


def require(holds: object, otherwise: str) -> None:
    """Raise ValueError with the reason unless `holds` is true."""
    if not holds:
        raise ValueError(otherwise)


def decode(text: str, alphabet: bytes = b"+/") -> bytes:
    """Decode base64, which must be the one way to write these bytes."""
    require(base64.b64encode(data := base64.b64decode(text, alphabet), alphabet) == text.encode(), "malformed base64")
    return data


def parse(text: bytes, members: str, end: bytes = b"\n") -> dict[str, Any]:
    """Return an object of exactly these members from a line of canonical JSON and its end."""
    value: dict[str, Any] = json.loads(text)
    again = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    require(again.encode() + end == text and list(value) == members.split(), "not canonical, or not these members")
    return value


def tiles(bundle: Path, level: str, count: int) -> Iterator[tuple[slice, bytes]]:
    """Yield each tile of a level that has `count` items, with the part of the level that it holds."""
    for start in range(0, count, 256):
        *high, low = [part.zfill(3) for part in f"{start // 256:,}".split(",")]
        path = [f"x{part}" for part in high] + [low + (f".p/{count - start}" if count - start < 256 else "")]
        yield slice(start, min(start + 256, count)), Path(bundle, "tile", level, *path).read_bytes()


def full(bundle: Path, size: int, root: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each record of a full bundle with its position, then verify all tiles and the root."""
    row: list[bytes] = []
    for part, tile in tiles(bundle, "entries", size):
        end = 0
        while end < len(tile):
            start, end = end + 2, end + 2 + int.from_bytes(tile[end : end + 2], "big")
            row.append(sha256(b"\0" + tile[start:end]).digest())
            yield len(row), tile[start:end]
        require(end == len(tile) and len(row) == part.stop, "a tile of entries has too many records, or too few")
    for height in range(size.bit_length()):
        for part, tile in tiles(bundle, str(height // 8), size >> height) if height % 8 == 0 else ():
            require(tile == b"".join(row[part]), f"tile/{height // 8}, hash {part.start + 1} or later: it is wrong")
        row = [sha256(b"\1" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)] + row[len(row) & ~1 :]
    require((row or [sha256().digest()]) == [root], "the root is not the one that was signed")


def one_tenant(bundle: Path, size: int, root: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each record of one tenant with its position, once its inclusion proof is verified."""
    for line in (bundle / "records.jsonl").read_bytes().splitlines(keepends=True):
        item = parse(line, "leaf position proof")
        index, proof, leaf = item["position"] - 1, [decode(text) for text in item["proof"]], item["leaf"].encode()
        found = sha256(b"\0" + leaf).digest()
        for height in range((size - 1).bit_length()):
            if (right := index >> height & 1) or index >> height < size - 1 >> height:
                found = sha256(b"\1" + (proof.pop(0) + found if right else found + proof.pop(0))).digest()
        require(found == root and not proof and index < size, f"position {item['position']}: the proof is wrong")
        yield item["position"], leaf


def main(bundle: Path, name: str, key_id: str, public: str) -> str:
    """Verify a bundle and return what was verified; exit with 1 after the first error and its place."""
    place, disclosed, records, versions = "checkpoint", [(0, "")], dict[str, dict[str, Any]](), dict[str, int]()
    try:
        [[text, origin, count, root, signatures]] = re.findall(NOTE, (bundle / "checkpoint").read_bytes().decode())
        require(origin == name, f"its origin is {origin}, the key is that of {name}")
        own = [s for s in map(decode, re.findall(f"— {re.escape(name)} (.*)", signatures)) if s[:4].hex() == key_id]
        Ed25519PublicKey.from_public_bytes(decode(public)[1:]).verify(b"".join(own[:1])[4:], text.encode())
        place, last, size, file = "tenant.json or the first record", 0, int(count), bundle / "tenant.json"
        tenant = parse(file.read_bytes(), "format tenant_id tree_size") if file.exists() else {}
        require(not tenant or (tenant["format"], str(tenant["tree_size"])) == (FORMAT, count), "wrong format or size")
        for position, leaf in (one_tenant if tenant else full)(bundle, size, decode(root)):
            record = parse(leaf, MEMBERS, b"")
            step, versions[record["stream"]] = record["version"] - versions.get(record["stream"], 0), record["version"]
            fits = step == 1 or (tenant and step > 1 and not record["type"].startswith("Credential"))
            require(record["tenant_id"] == tenant.get("tenant_id", record["tenant_id"]), "the next record is another's")
            require(fits and str(record["position"]) == str(position) and position > last, "the next is misplaced")
            place, last = f"after position {position}", position
            records[str(position)] = {**record, "query": record["details"].get("query")}
        for number, line in enumerate((bundle / "disclosures.jsonl").read_bytes().splitlines(keepends=True), 1):
            place = f"disclosures.jsonl, line {number}"
            item = parse(line, "member opening position value")
            disclosed.append((item["position"], item["member"]))
            require(disclosed[-1] > disclosed[-2], "the lines are out of order")
            framed = [len(part).to_bytes(4, "big") + part for part in (item["member"].encode(), item["value"].encode())]
            code = hmac.digest(decode(item["opening"] + "==", b"-_"), b"".join(framed), "sha256")
            commitment = "commitment:v1:" + base64.urlsafe_b64encode(code).decode().rstrip("=")
            require(records.get(str(item["position"]), {}).get(item["member"]) == commitment, "not what is recorded")
    except (ValueError, TypeError, LookupError, OSError, RecursionError, InvalidSignature) as error:
        sys.exit(f"error  {place}: {str(error) or 'it is not signed with this key'}")
    sealed = sum(str(member).startswith("commitment:") for record in records.values() for member in record.values())
    return f"{origin}: proven {len(records)} of {size} records, {len(disclosed) - 1} of {sealed} personal members\n"


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2].count("+") < 2:
        sys.exit(sys.stderr.write(str(__doc__)) and 2)
    sys.stdout.write(main(Path(sys.argv[1]), *sys.argv[2].split("+", 2)))
