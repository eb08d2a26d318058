"""The other services on the database: their versions, and whether they have the key that this one seals with."""

from collections.abc import Iterator
from importlib.metadata import version

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, listed, ok, warning
from keyledger.encryption.nodes import Node, running_nodes

SUBJECT = "peers"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report which services run and how they differ from this one."""
    nodes, own = running_nodes(here.pool()), version("keyledger")
    others = [node for node in nodes if node.version != own]
    if others:
        told = listed([f"{node.name} runs {node.version}" for node in others])
        yield warning(SUBJECT, f"this program is version {own}, but {told}", "keyledger --version, on each of them")
    yield from _of_keys(here, [node for node in nodes if node.primary_id])
    if not nodes:
        yield ok(SUBJECT, "no service runs on this database now")
    elif not others:
        yield ok(SUBJECT, f"every service on this database runs version {own}: {listed([node.name for node in nodes])}")


def _of_keys(here: Circumstances, nodes: list[Node]) -> Iterator[Finding]:
    settings = here.settings
    if settings is None or settings.encryption_key is None:
        return
    primary = here.keyring().primary_id
    without = [node.name for node in nodes if primary not in node.key_ids]
    if without:
        said = f"{listed(without)} cannot open credentials sealed here, under {primary}"
        yield fault(SUBJECT, said, "keyledger keys list")
