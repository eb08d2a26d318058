"""The other services on the database: their versions, whether they have the key that this one seals with, and whether
the same commands need a second person there.
"""

from collections.abc import Collection, Iterator

from domain.approvals.needs import Approval
from domain.text.visible_text import visible
from keyledger.assembly.configuration import keyring_of
from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, listed, ok, warning
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.node_codes import Standing
from keyledger.encryption.node_release import approvals_of, own_release, without_approvals
from keyledger.encryption.nodes import Node, running_nodes

SUBJECT = "peers"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report which services run and how they differ from this one."""
    keyring = _keyring(here)
    rows, own = running_nodes(here.pool(), keyring), own_release()
    nodes = [node for node in rows if node.standing is not Standing.FORGED]
    if strange := [visible(node.name) for node in rows if node.standing is Standing.FORGED]:
        said = f"the table nodes has forged rows, which are ignored: {listed(strange)}"
        yield fault(SUBJECT, said, "keyledger keys list, and find out who can write to the database")
    others = [node for node in nodes if without_approvals(node.version) != own]
    if others:
        told = listed([f"{node.name} runs {without_approvals(node.version)}" for node in others])
        yield warning(SUBJECT, f"this program is version {own}, but {told}", "keyledger --version, on each of them")
    yield from _of_keys(here, [node for node in nodes if node.primary_id])
    yield from _of_approvals(here, nodes)
    if not nodes:
        yield ok(SUBJECT, "no service runs on this database now")
    elif not others:
        yield ok(SUBJECT, f"every service on this database runs version {own}: {listed([node.name for node in nodes])}")


def _keyring(here: Circumstances) -> Keyring | None:
    return keyring_of(here.settings) if here.settings is not None else None


def _of_keys(here: Circumstances, nodes: list[Node]) -> Iterator[Finding]:
    settings = here.settings
    if settings is None or settings.encryption_key is None:
        return
    primary = here.keyring().primary_id
    without = [node.name for node in nodes if primary not in node.key_ids]
    if without:
        said = f"{listed(without)} cannot open credentials sealed here, under {primary}"
        yield fault(SUBJECT, said, "keyledger keys list")


def _of_approvals(here: Circumstances, nodes: list[Node]) -> Iterator[Finding]:
    if here.settings is None:
        return
    own = here.settings.approvals.named
    told = [f"{node.name} names {_words(named)}" for node in nodes if (named := approvals_of(node.version)) != own]
    if told:
        said = f"APPROVALS names {_words(own)} here, but {listed(told)}; every node obeys what any of them names"
        yield warning(SUBJECT, said, "set APPROVALS alike on every node, then keyledger reload on each")


def _words(named: Collection[Approval]) -> str:
    return " and ".join(sorted(named)) or "nothing"
