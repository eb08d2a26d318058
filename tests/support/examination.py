"""Everything that the product notices about a store, and everything that a call uses and an auditor reads there.

An examination is what follows a forgery in practice: a node serves, applications call, an operator watches `/readyz`,
an administrator writes, an auditor reads entries and takes a bundle, and an operator runs `keyledger verify`. All that
any of them notices is a finding. A new way to notice something is one more function in `WAYS`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from domain.errors import ServiceError
from keyledger.start_error import StartError
from tests.support.claims import records_of
from tests.support.deployment import PROVIDERS, Deployment, Place
from tests.support.service import Client

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Honest:
    """The keys that calls use and the texts that auditors read while nothing is forged.

    calls: the key of each place. entries, records: of the audit trail and of the tree, up to some position.
    checkpoint: a signed one that an auditor kept. vkey: the public key that the auditor verifies with.
    """

    calls: Mapping[Place, str]
    entries: Sequence[Entry]
    records: Sequence[bytes]
    checkpoint: str
    vkey: str


@dataclass(frozen=True)
class Finding:
    """Something that was noticed. way: by whom."""

    way: str
    text: str
    position: int | None = None
    place: Place | None = None


@dataclass(kw_only=True)
class Outcome:
    """Findings, with what was used or believed instead, and which work of operators was held up."""

    findings: list[Finding] = field(default_factory=list)
    used: dict[Place, str] = field(default_factory=dict)
    believed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)

    @property
    def changed_nothing(self) -> bool:
        """Whether calls and auditors got what they get from an honest store."""
        return not self.used and not self.believed

    def find(self, way: str, text: str, position: int | None = None, place: Place | None = None) -> None:
        self.findings.append(Finding(way, text, position, place))


@dataclass
class Examination(Outcome):
    """The outcome of an examination that is under way."""

    deployment: Deployment
    honest: Honest
    folder: Path


def honest_view(deployment: Deployment, calls: Mapping[Place, str], folder: Path) -> Honest:
    """Return what an honest deployment shows."""
    with deployment.served() as client:
        entries = entries_of(client)
        assert isinstance(entries, list), entries
        checkpoint = client.http.get("/api/v1/audit/checkpoint").text
        records = [
            str(line["leaf"]).encode()
            for line in map(json.loads, client.http.get("/api/v1/audit/evidence").text.splitlines())
            if "leaf" in line
        ]
    verified = deployment.command("verify")  # leaves every projection at the head of the log
    assert verified.code == 0, verified
    vkey = deployment.command("audit", "public-key").out.strip()
    return Honest(calls, entries, records[: len(entries)], checkpoint, vkey)


def examine(
    deployment: Deployment, honest: Honest, folder: Path, forge: Callable[[], None] | None = None
) -> Examination:
    """Examine a store. forge: what happens while the node serves; None if it happened before the start."""
    found = Examination(deployment, honest, folder)
    try:
        with deployment.served() as client:
            if forge is not None:
                forge()
            for way in WAYS:
                way(found, client)
    except (StartError, ServiceError) as refused:
        found.find("start", str(refused) or type(refused).__name__)
    for after in AFTERWARDS:
        after(found)
    return found


def calls(found: Examination, client: Client) -> None:
    """Every tenant calls every provider; so does one that was never configured."""
    for place in [*found.honest.calls, *((str(uuid4()), provider) for provider in PROVIDERS[:1])]:
        key, code = found.deployment.call(client, place)
        wanted = found.honest.calls.get(place)
        if key is None:
            found.find("call", code, place=place)
        elif wanted is not None and key != wanted:
            found.used[place] = key


def readiness(found: Examination, client: Client) -> None:
    """The operator's probe."""
    answer = client.http.get("/readyz").json()
    for name, check in answer.get("checks", {}).items():
        if not check["ok"]:
            found.find("readyz", f"{name}: {check['text']}")


def trail(found: Examination, client: Client) -> None:
    """An auditor reads the entries."""
    entries = entries_of(client)
    if isinstance(entries, str):
        found.find("entries", entries)
        return
    read = {entry["position"]: entry for entry in entries}
    expected = {entry["position"]: entry for entry in found.honest.entries}
    found.believed += [f"entry {position}" for position, entry in expected.items() if read.get(position) != entry]
    found.believed += [
        f"entry {entry['position']} by {entry['actor']}" for entry in entries if entry["actor"] in STRANGERS
    ]


STRANGERS = frozenset({"alice-the-honest-admin"})
"""Names that only a forger writes."""


def entries_of(client: Client) -> list[Entry] | str:
    """The whole audit trail, or the code of the error."""
    entries: list[Entry] = []
    query: str | None = "/api/v1/audit/entries?limit=1000"
    while query is not None:
        answer = client.http.get(query)
        if answer.status_code != 200:
            return f"{answer.json().get('code')}: {answer.json().get('detail')}"
        page = answer.json()
        entries += page["entries"]
        query = page.get("next") if page["entries"] else None
    return entries


def checkpoint(found: Examination, client: Client) -> None:
    """An auditor asks for a signature."""
    answer = client.http.get("/api/v1/audit/checkpoint")
    if answer.status_code != 200:
        found.find("checkpoint", str(answer.json().get("detail")))


def bundle(found: Examination, client: Client) -> None:
    """An auditor takes a bundle and verifies it, with the checkpoint that they kept."""
    where = {
        "KEYLEDGER_URL": str(client.http.base_url),
        "KEYLEDGER_API_KEY": found.deployment.settings()["SUPER_API_KEY"],
    }
    folder, kept = found.folder / "bundle", found.folder / "kept"
    taken = found.deployment.command("audit", "bundle", "-o", str(folder), more=where)
    if taken.code:
        found.find("audit bundle", taken.err)
        return
    kept.write_text(found.honest.checkpoint)
    vkey = ("--public-key", found.honest.vkey)
    verified = found.deployment.command("audit", "verify", str(folder), *vkey, "--since", str(kept))
    if verified.code:
        found.find("audit verify", verified.out + verified.err)
    records = records_of(folder, size_of(folder))
    found.believed += [
        f"record {index + 1}" for index, record in enumerate(found.honest.records) if records.get(index) != record
    ]


def size_of(bundle: Path) -> int:
    return int((bundle / "checkpoint").read_text().splitlines()[1])


def write(found: Examination, client: Client) -> None:
    """An administrator sets a new credential, which the next call must use."""
    place, key = (str(uuid4()), "openai"), f"sk-live-{uuid4().hex}"
    answer = client.put(*place, api_key=key)
    if answer.status_code != 200:
        found.find("write", str(answer.json()), place=place)
        return
    used, code = found.deployment.call(client, place)
    if used is None:
        found.find("call", code, place=place)
    elif used != key:
        found.used[place] = used


def verify(found: Examination) -> None:
    """An operator verifies the whole store."""
    ended = found.deployment.command("verify", "--json")
    if ended.code == 0:
        return
    try:
        fault = json.loads(ended.out)["fault"]
    except (ValueError, KeyError, TypeError):
        found.find("verify", ended.err)
        return
    place = (fault["tenant_id"], fault["provider"]) if fault["tenant_id"] else None
    found.find("verify", f"{fault['part']}: {fault['meaning']}", fault["position"], place)


WAYS: tuple[Callable[[Examination, Client], None], ...] = (calls, readiness, trail, checkpoint, bundle, write, calls)
"""What is done while a node serves, in this order. Calls are made again at the end."""


def rotate(found: Examination) -> None:
    """An operator plans a rotation, which nothing may hold up."""
    ended = found.deployment.command("keys", "rotate", "--dry-run")
    if ended.code:
        found.blocked.append(ended.err)


AFTERWARDS: tuple[Callable[[Examination], None], ...] = (verify, rotate)
"""What is done once the node has stopped, or did not start."""


def positions_in(text: str) -> Iterator[int]:
    """Every number that a text gives as a position, an entry, a record or an event."""
    for found in re.finditer(r"\b(?:position|entry|record|event)s?\s+(\d+)", text):
        yield int(found[1])
