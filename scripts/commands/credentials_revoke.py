"""`credentials revoke`: deletes all credentials that a leak has hit, on the database itself.

Promises: without `--yes` it only shows the plan. It needs no name of a tenant, prints no key, and can be run again
until nothing is hit any more. All deletions have one causation id in the audit, which is that of the leak.
Refuses: to delete what needs a second person, except in an emergency, which the reason of each deletion then says.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.reason import ReasonOption, require_reason

if TYPE_CHECKING:  # loaded only when a command runs
    from keyledger.revocation.leak import Leak
    from keyledger.revocation.revoking import Hit, Revoked


_SealedUnder = Annotated[
    str | None,
    typer.Option(metavar="KEY_ID", help="All whose API key was ever sealed under this.", show_default=False),
]
_Emergency = Annotated[
    bool, typer.Option("--emergency", help="Delete without the second person of APPROVALS; needs a reason.")
]
WITHOUT_SECOND = "emergency, without a second person: "
"""Begins the reason of each deletion that APPROVALS would have made a proposal."""
_SECOND_PERSON = (
    "APPROVALS names delete, so a second person has to approve each of these deletions. Nothing was deleted.",
    "To stop all calls of a tenant now, alone: keyledger tenants freeze TENANT",
    "To propose each, which a freeze does not prevent: keyledger credentials delete TENANT PROVIDER --if-match VERSION",
    "If no second person can be reached: run this command again with --emergency and --reason; the audit shows that",
)


def revoke(
    *,
    sealed_under: _SealedUnder = None,
    fingerprint: Annotated[
        str | None, typer.Option(metavar="FINGERPRINT", help="All that have this API key.", show_default=False)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what is hit; the default.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is hit.")] = False,
    emergency: _Emergency = False,
    reason: ReasonOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Delete every credential that a leaked encryption key, or a leaked API key, has hit. Shows a plan first."""
    from domain.approvals.needs import Approval
    from domain.events.event import utc_now
    from keyledger.assembly.command_meta import command_meta
    from keyledger.assembly.for_commands.ledger_for_changes import ledger_for_changes
    from keyledger.revocation.revoking import Revoking

    leak = _leak(sealed_under, fingerprint)
    if plan and yes:
        raise CommandError(Exit.USAGE, "give --plan or --yes, not both")
    if emergency and not (yes and reason):
        raise CommandError(Exit.USAGE, "--emergency needs --yes and --reason")
    require_reason(reason)
    with ledger_for_changes(OF_THIS_PROCESS, Path(".env")) as ledger:
        revoking = Revoking(ledger.pool, ledger.log, ledger.people.reader, utc_now)
        hits = revoking.hits(leak)
        waits = Approval.DELETE in ledger.log.approvals
        if waits and emergency:
            ledger.log.approvals = frozenset(ledger.log.approvals) - {Approval.DELETE}
            reason = f"{WITHOUT_SECOND}{reason}"
        proceeds = yes and (emergency or not waits)
        done = revoking.revoke(leak, hits, replace(command_meta(), reason=reason)) if proceeds else None
    if as_json:
        print_json(_document(leak, hits, done))
    else:
        _print(leak, hits, done, wide=wide)
    if yes and hits and not proceeds:
        raise CommandError(Exit.REFUSED, *_SECOND_PERSON)
    if done is not None and (done.changed or done.failed):
        raise CommandError(Exit.ERROR_FOUND, *_left(done))


def _leak(sealed_under: str | None, fingerprint: str | None) -> "Leak":
    from domain.audit.query import FINGERPRINT, KEY_ID
    from keyledger.revocation.leak import Leak

    if (sealed_under is None) == (fingerprint is None):
        raise CommandError(Exit.USAGE, "give one of --sealed-under and --fingerprint")
    if sealed_under is not None and not re.fullmatch(KEY_ID, sealed_under):
        raise CommandError(
            Exit.USAGE, "--sealed-under must be the id of an encryption key: k and ten hexadecimal digits"
        )
    if fingerprint is not None and not re.fullmatch(FINGERPRINT, fingerprint):
        raise CommandError(Exit.USAGE, "--fingerprint must be f and sixteen hexadecimal digits, as the audit shows it")
    return Leak(sealed_under, fingerprint)


def _print(leak: "Leak", hits: "Sequence[Hit]", done: "Revoked | None", *, wide: bool) -> None:
    if not hits:
        say("no live credential is hit")
        return
    rows = [(hit.tenant_id, hit.provider, hit.masked_key, str(hit.version)) for hit in hits]
    print_table(Table(("tenant", "provider", "key", "version"), rows), wide=wide)
    if done is None:
        say(f"{len(hits)} credentials are hit; nothing was deleted. Delete them with --yes")
        say("calls of their tenants then use the global key, unless GLOBAL_FALLBACK or a tenant's policy denies it")
    else:
        say(f"{len(done.deleted)} credentials are deleted; causation id {leak.causation_id}")


def _left(done: "Revoked") -> Sequence[str]:
    failed = [f"{hit.tenant_id} {hit.provider} was not deleted: {why}" for hit, why in done.failed]
    changed = f"{len(done.changed)} credentials were changed meanwhile: run the command again" if done.changed else ""
    return [*failed, *([changed] if changed else [])]


def _document(leak: "Leak", hits: "Sequence[Hit]", done: "Revoked | None") -> dict[str, object]:
    shown = {"causation_id": leak.causation_id, "hit": [_hit(hit) for hit in hits]}
    if done is None:
        return {**shown, "deleted": None}
    return {
        **shown,
        "deleted": len(done.deleted),
        "changed": [_hit(hit) for hit in done.changed],
        "failed": [{**_hit(hit), "detail": why} for hit, why in done.failed],
    }


def _hit(hit: "Hit") -> dict[str, object]:
    return {
        "tenant_id": hit.tenant_id,
        "provider": hit.provider,
        "version": hit.version,
        "masked_key": hit.masked_key,
    }
