"""The port that the service is to listen on: free, used by KeyLedger, or used by another program."""

import errno
import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok

SUBJECT = "port"
_PATIENCE_S = 3.0


def look(here: Circumstances) -> Iterator[Finding]:
    """Report whether the service can listen there, or already does."""
    at = f"{here.host}:{here.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(here.host, here.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        yield _of_taken(here, at) if error.errno == errno.EADDRINUSE else _of_refused(at, error)
    else:
        yield ok(SUBJECT, f"{at} is free")


def _of_taken(here: Circumstances, at: str) -> Finding:
    if _is_keyledger(here.host, here.port):
        return ok(SUBJECT, f"KeyLedger answers at {at}")
    return fault(SUBJECT, f"{at} is in use by another program", f"ss -ltnp 'sport = :{here.port}'")


def _of_refused(at: str, error: OSError) -> Finding:
    reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return fault(
        SUBJECT, f"the service cannot listen on {at} ({reason})", "keyledger serve --host 127.0.0.1 --port 8000"
    )


def _is_keyledger(host: str, port: int) -> bool:
    """Send a request without the key it needs: only the service answers with this problem."""
    connection = HTTPConnection(host if host not in {"0.0.0.0", "::"} else "localhost", port, timeout=_PATIENCE_S)  # noqa: S104
    try:
        connection.request("GET", "/api/v1/sysadmin/tenants")
        answer = connection.getresponse()
        return answer.status == 401 and json.loads(answer.read(4096)).get("code") == "unauthenticated"
    except (OSError, HTTPException, ValueError, AttributeError):
        return False
    finally:
        connection.close()
