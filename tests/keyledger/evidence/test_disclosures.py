"""Personal members in bundles: what is disclosed is what was recorded, and what is not disclosed is counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain.events.personal import COMMITTED, Disclosure, commitment_of
from keyledger.evidence import FullBundleWriter, TenantBundleWriter, Verdict, verify_bundle
from keyledger.evidence.disclosures import line_of
from keyledger.evidence.layout import DISCLOSURES
from tests.support.audit_records import ANNA, BRUNO, Records
from tests.support.evidence import LOG, proven, signed

PEOPLE = ("olga", "pavel", "olga")


def opening(number: int, member: str) -> bytes:
    return bytes([number]) * 8 + member.encode()[:8].ljust(8, b"\0")


def committed(number: int, member: str, value: str) -> str:
    return COMMITTED + commitment_of(member, value, opening(number, member))


def records() -> list[bytes]:
    made = Records()
    for number, name in enumerate(PEOPLE, start=1):
        made.credential(
            "Set",
            (ANNA, BRUNO, ANNA)[number - 1],
            actor=committed(number, "actor", name),
            client_address=None,
            reason=committed(number, "reason", f"note {number}"),
            fingerprint=None,
        )
    query = committed(4, "query", "actor:olga")
    made.add("AuditRead", UUID(int=9), details={"view": "entries", "count": 1, "query": query}, actor="service")
    return made.leaves


def lines(*numbers: int) -> list[bytes]:
    """Return the lines that disclose some records."""
    found = []
    for number in numbers:
        members = {"query": "actor:olga"} if number == 4 else {"actor": PEOPLE[number - 1], "reason": f"note {number}"}
        found += [line_of(number, name, Disclosure(value, opening(number, name))) for name, value in members.items()]
    return found


def full(folder: Path, disclosed: list[bytes]) -> Verdict:
    leaves = records()
    FullBundleWriter(folder / "full").write(leaves, signed(leaves), disclosures=disclosed)
    return verify_bundle(folder / "full", LOG.vkey)


def test_every_disclosed_member_is_what_was_recorded(tmp_path: Path) -> None:
    verdict = full(tmp_path, lines(1, 2, 3, 4))
    assert verdict.holds, verdict.error
    assert "7 personal members disclosed, each as it was recorded." in verdict.proven
    assert not any("not disclosed" in note for note in verdict.notes)


@pytest.mark.parametrize(("left", "missing"), [((1, 3), 3), ((), 7), ((4,), 6)])
def test_members_that_are_not_disclosed_are_counted(tmp_path: Path, left: tuple[int, ...], missing: int) -> None:
    verdict = full(tmp_path, lines(*left))
    assert verdict.holds
    assert f"{missing} personal members recorded, but not disclosed: erased since, or left out." in verdict.notes


def test_a_bundle_of_one_tenant_discloses_only_its_records(tmp_path: Path) -> None:
    leaves = records()
    TenantBundleWriter(tmp_path / "t").write(ANNA, proven(leaves, ANNA), signed(leaves), lines(1))
    verdict = verify_bundle(tmp_path / "t", LOG.vkey)
    assert verdict.holds
    assert "2 personal members disclosed, each as it was recorded." in verdict.proven
    assert "2 personal members recorded, but not disclosed: erased since, or left out." in verdict.notes
    TenantBundleWriter(tmp_path / "u").write(ANNA, proven(leaves, ANNA), signed(leaves), lines(1, 2))
    wrong = verify_bundle(tmp_path / "u", LOG.vkey)
    assert wrong.error is not None
    assert wrong.error.position == 2


def changed(number: int, **members: Any) -> Callable[[list[bytes]], list[bytes]]:
    def change(found: list[bytes]) -> list[bytes]:
        altered = json.dumps({**json.loads(found[number]), **members}, sort_keys=True, separators=(",", ":"))
        return [*found[:number], altered.encode() + b"\n", *found[number + 1 :]]

    return change


def swapped(found: list[bytes]) -> list[bytes]:
    one, two = json.loads(found[0]), json.loads(found[2])
    values = [{**one, "value": two["value"], "opening": two["opening"]}, {**two, "value": one["value"]}]
    first, third = (json.dumps(one, sort_keys=True, separators=(",", ":")).encode() + b"\n" for one in values)
    return [first, found[1], third, *found[3:]]


TAMPERED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int | None]] = {
    "another value": (changed(0, value="mallory"), 1),
    "another opening": (changed(0, opening="A" * 22), 1),
    "an opening of another length": (changed(0, opening="AAAA"), None),
    "values of two records swapped": (swapped, 1),
    "members of one record swapped": (changed(0, member="reason", value="note 1"), 1),
    "a member that no record has": (changed(0, member="colour"), 1),
    "a member that is not a commitment": (changed(0, member="client_address"), 1),
    "the same line twice": (lambda found: [found[0], *found], 1),
    "lines out of order": (lambda found: [*found[2:], *found[:2]], 1),
    "a record that the bundle does not hold": (lambda found: [*found, *changed(0, position=9)(found[6:])], 9),
    "a record before the first": (changed(0, position=0), 0),
    "a line that is not JSON": (lambda found: [b"{\n", *found], None),
    "a line with a member too many": (changed(0, more=1), None),
    "a position that is a truth": (changed(0, position=True), None),
    "a line without an end": (lambda found: [*found[:-1], found[-1][:-1]], None),
}


@pytest.mark.parametrize(("tamper", "position"), TAMPERED.values(), ids=list(TAMPERED))
def test_a_bundle_does_not_hold_with(
    tmp_path: Path, tamper: Callable[[list[bytes]], list[bytes]], position: int | None
) -> None:
    verdict = full(tmp_path, tamper(lines(1, 2, 3, 4)))
    assert verdict.error is not None
    assert verdict.error.position == position


def test_a_bundle_does_not_hold_without_the_file(tmp_path: Path) -> None:
    assert full(tmp_path, lines(1)).holds
    (tmp_path / "full" / DISCLOSURES).unlink()
    error = verify_bundle(tmp_path / "full", LOG.vkey).error
    assert error is not None
    assert DISCLOSURES in str(error)
