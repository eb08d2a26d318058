"""The outcome of one check of readiness. Loads no part of the HTTP interface, so commands may use what reports one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one readiness check. `text` is public: no secret, no address, no text from a driver."""

    ok: bool
    text: str
