"""Calls under way end when their key no longer admits them, and only then."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from api.front.callers import Callers, RequestAdmission
from api.front.no_people import NoPeople
from api.front.people import OpenedCookie
from api.front.revoked_calls import LOOK_S, RevokedCalls
from api.front.standing import SessionStanding
from domain.access.access_key import AccessTerms
from domain.access.roles import Role
from domain.access.scope import Scope, Wanted
from domain.access.session import Session
from domain.access.tenants import Tenants
from domain.access.token import digest_of
from domain.credentials.admission import TokenRow
from domain.credentials.commands import Precondition
from domain.errors import AccessError, ErrorCode, ServiceError
from tests.domain.access.test_service import Ledger
from tests.support.scenario import NOW, OTHER_TENANT, TENANT, meta
from tests.support.twins.access_keys import MemoryAccessKeys
from tests.support.twins.tenants import MemoryTenants

ANY = Precondition()
WITHIN = AccessTerms(Scope(tenants=(TENANT,)), expires_at=NOW + timedelta(hours=1))


def outcome_of(change: Callable[[Ledger], object], *, ends: bool = True, by_key: bool = True) -> str:
    """How a call ends that something changes for while it is under way: the code of its error, "" if it finishes.

    by_key: the caller has an access key, not one of the settings.
    """
    ledger = Ledger()
    listed = MemoryAccessKeys(ledger.log)
    callers = Callers(listed.read, listed.reader(lambda: ledger.now))
    token = ledger.made(terms=WITHIN).token
    assert token is not None
    tenants = MemoryTenants(ledger.log)
    revoked = RevokedCalls(callers, tenants.require, lambda: ends)
    standing = callers.standing(digest_of(token.reveal().encode()))
    admission = RequestAdmission(callers, standing, Wanted(tenant=TENANT), calling=True)

    async def call() -> str:
        finish = asyncio.Event()
        await admission.read()
        task = asyncio.ensure_future(revoked.serve(waited(finish), admission if by_key else None, TENANT))
        await asyncio.sleep(0)
        change(ledger)
        await revoked.look()
        finish.set()
        try:
            await task
        except ServiceError as error:
            return error.code
        return ""

    async def waited(finish: asyncio.Event) -> None:
        await finish.wait()

    ended = asyncio.run(call())
    assert revoked.under_way == set()
    return ended


class Signed(NoPeople):
    """People of whom one has a session."""

    def require(self, opened: OpenedCookie, found: TokenRow | None) -> Session:
        """Return the session."""
        return Session(opened.actor, Role.RUNTIME, AccessTerms(Scope()))


def test_a_session_ends_once_signing_in_is_switched_off_and_calls_of_others_are_still_looked_at() -> None:
    in_force: list[NoPeople] = [Signed()]
    looked: list[str] = []
    again = asyncio.Event()

    async def require(tenant: str) -> None:
        looked.append(tenant)
        if len(looked) == 1:
            raise RuntimeError("unexpected")
        again.set()

    async def steps() -> None:
        listed = MemoryAccessKeys(Ledger().log)
        callers = Callers(listed.read, listed.reader(lambda: NOW))
        revoked = RevokedCalls(callers, require, lambda: True, pause=0.001)
        standing = SessionStanding(OpenedCookie("s", "i#ada", "Ada", "c"), lambda: in_force[0])
        admission = RequestAdmission(callers, standing, Wanted(), calling=True)
        await admission.read()
        await revoked.start()
        never = asyncio.Event()
        of_session = asyncio.ensure_future(revoked.serve(waits(never), admission, None))
        of_tenant = asyncio.ensure_future(revoked.serve(waits(never), None, TENANT))
        await asyncio.sleep(0)
        in_force[0] = NoPeople()
        with pytest.raises(AccessError) as ended:
            await asyncio.wait_for(of_session, 10)
        assert ended.value.code == ErrorCode.SESSION_ENDED
        again.clear()
        await asyncio.wait_for(again.wait(), 10)
        of_tenant.cancel()
        await revoked.stop()

    asyncio.run(steps())


async def waits(event: asyncio.Event) -> None:
    await event.wait()


def test_a_look_comes_often_enough() -> None:
    assert LOOK_S < 4


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda ledger: None, "", id="nothing changed"),
        pytest.param(
            lambda ledger: ledger.keys.revoke("app", meta("c-2"), ANY), ErrorCode.ACCESS_KEY_REFUSED, id="revoked"
        ),
        pytest.param(
            lambda ledger: ledger.keys.rotate("app", None, meta("c-2"), ANY),
            ErrorCode.ACCESS_KEY_REFUSED,
            id="rotated without an overlap",
        ),
        pytest.param(
            lambda ledger: ledger.keys.rotate("app", NOW + timedelta(hours=1), meta("c-2"), ANY), "", id="with one"
        ),
        pytest.param(
            lambda ledger: ledger.keys.change("app", AccessTerms(Scope(tenants=(OTHER_TENANT,))), meta("c-2"), ANY),
            ErrorCode.OUTSIDE_SCOPE,
            id="another scope",
        ),
        pytest.param(
            lambda ledger: setattr(ledger, "now", NOW + timedelta(hours=2)), ErrorCode.ACCESS_KEY_REFUSED, id="expired"
        ),
        pytest.param(lambda ledger: setattr(ledger.log, "down", True), "", id="the database does not answer"),
    ],
)
def test_a_call_ends_once_its_key_does_not_admit_it(change: Callable[[Ledger], object], code: str) -> None:
    assert outcome_of(change) == code


def test_a_call_may_finish_where_the_operator_says_so() -> None:
    assert outcome_of(lambda ledger: ledger.keys.revoke("app", meta("c-2"), ANY), ends=False) == ""


def frozen(ledger: Ledger, tenant: str = TENANT) -> None:
    """Freeze a tenant."""
    Tenants(ledger.log, MemoryTenants(ledger.log), lambda: ledger.now, ["openai"]).freeze(tenant, meta("f-1"), ANY)


@pytest.mark.parametrize("by_key", [True, False], ids=["access key", "key of the settings"])
def test_a_call_ends_once_its_tenant_is_frozen(by_key: bool) -> None:
    assert outcome_of(frozen, by_key=by_key) == ErrorCode.TENANT_FROZEN
    assert outcome_of(frozen, by_key=by_key, ends=False) == ""
    assert outcome_of(lambda ledger: frozen(ledger, OTHER_TENANT), by_key=by_key) == ""
    assert outcome_of(lambda ledger: setattr(ledger.log, "down", True), by_key=by_key) == ""
