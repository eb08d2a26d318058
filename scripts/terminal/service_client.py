"""The client of a running service's REST API.

Promises: the admin key comes from a file or the environment, never from the command line, and goes only to the given
URL: proxies from the environment are ignored and redirects are not followed. Every response becomes data or a
`CommandError` with an exit code.
Refuses: responses that are not KeyLedger's.
"""

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, cast
from urllib.parse import quote, urlencode, urlsplit

import typer

from api.front.cli_agent import CLI_AGENT
from domain.credentials.secret import Secret
from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import say

if TYPE_CHECKING:  # loaded only when a command calls the service
    import httpx

UrlOption = Annotated[str, typer.Option("--url", envvar="KEYLEDGER_URL", help="URL of the service.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file", help="File that holds the admin API key.  [default: KEYLEDGER_API_KEY or SUPER_API_KEY]"
    ),
]

DEFAULT_URL = "http://127.0.0.1:8000"
_TIMEOUT_S = 30.0
_PAGE = 1000
_URL_RULE = "--url must be http(s)://host:port, without a user name or a query"
_UNREACHABLE = frozenset({502, 503, 504})
_CONFLICT = frozenset({409, 412})
_FOUND = frozenset({"checkpoint-refused", "log-contradicted"})
"""Codes of errors that the service found in the log."""


class ServiceClient:
    """Calls the service at `url` with an admin key. Use it as a context manager.

    Raises CommandError for a URL that is not plain http(s)://host:port.
    """

    def __init__(self, url: str, key: Secret, patience_s: float = _TIMEOUT_S) -> None:
        """url: http(s)://host:port, perhaps with a path. key: an admin API key. patience_s: for an answer."""
        import httpx

        self._url = _checked_url(url)
        context = ssl.create_default_context() if self._url.startswith("https:") else False
        self._http = httpx.Client(
            base_url=self._url,
            headers={"X-API-Key": key.reveal(), "User-Agent": f"{CLI_AGENT}/{version('keyledger')}"},
            timeout=patience_s,
            trust_env=False,
            verify=context,
        )

    def __enter__(self) -> Self:
        """Return this client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        """Send a request and return the JSON object of a successful response. Raises CommandError otherwise."""
        import httpx

        try:
            # As bytes: a reason may contain any Unicode character.
            sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
            response = self._http.request(method, path, json=body, headers=sent)
        except httpx.HTTPError as problem:
            raise CommandError(Exit.UNREACHABLE, f"no response from {self._url} ({type(problem).__name__})") from None
        document = _object(response)
        if response.is_success and document is not None:
            return document
        raise _refused(response.status_code, document)

    def pages(self, path: str, member: str, query: Mapping[str, str]) -> list[Mapping[str, object]]:
        """Fetch a list, page by page, and return all of it. member: the field that holds a page's items.

        Raises CommandError as `call` does.
        """
        found: list[Mapping[str, object]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.call("GET", f"{path}?{urlencode({**query, **cursor, 'limit': str(_PAGE)})}")
            found += cast("list[Mapping[str, object]]", page[member])
            if page["next"] is None:
                return found
            cursor = {"after": str(page["next"])}

    def text(self, path: str) -> str:
        """Fetch a plain-text resource. Raises CommandError for any other response."""
        import httpx

        try:
            response = self._http.get(path)
        except httpx.HTTPError as problem:
            raise CommandError(Exit.UNREACHABLE, f"no response from {self._url} ({type(problem).__name__})") from None
        if response.is_success and response.headers.get("content-type", "").startswith("text/plain"):
            return response.text
        raise _refused(response.status_code, _object(response))

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """Download a file piece by piece.

        Raises CommandError when it is refused, and when the response ends early.
        """
        import httpx

        try:
            with self._http.stream("GET", path) as response:
                if not response.is_success or "content-disposition" not in response.headers:
                    response.read()
                    raise _refused(response.status_code, _object(response))
                yield response.iter_bytes()
        except httpx.HTTPError as problem:
            lost = f"the response from {self._url} is incomplete ({type(problem).__name__})"
            raise CommandError(Exit.UNREACHABLE, lost) from None

    def part(self, path: str) -> tuple[bytes, str | None]:
        """Return one part of a file, and the query of the next one, None at the end.

        Raises CommandError when it is refused or incomplete.
        """
        import httpx

        try:
            response = self._http.get(path)
        except httpx.HTTPError as problem:
            lost = f"the response from {self._url} is incomplete ({type(problem).__name__})"
            raise CommandError(Exit.UNREACHABLE, lost) from None
        if not response.is_success or "content-disposition" not in response.headers:
            raise _refused(response.status_code, _object(response))
        # The path of the link is that of the service, which may be behind a proxy with a path of its own.
        following = response.links.get("next", {}).get("url")
        return response.content, None if following is None else urlsplit(following).query


def credential_path(tenant_id: str, provider: str | None = None) -> str:
    """Return the path of a tenant's credentials, or of its credential for `provider`."""
    collection = f"/api/v1/sysadmin/tenants/{quote(tenant_id, safe='')}/credentials"
    return collection if provider is None else f"{collection}/{quote(provider, safe='')}"


def admin_key(key_file: Path | None) -> Secret:
    """Return the admin key from `--api-key-file`, the environment or `.env`. Raises CommandError without one."""
    if key_file is not None:
        return Secret(read_secret_file(key_file))
    from keyledger.settings.sources import SUPER_KEY_ALSO, Sources

    sources = Sources(OF_THIS_PROCESS, Path(".env"))
    names = (("KEYLEDGER_API_KEY", ()), ("SUPER_API_KEY", SUPER_KEY_ALSO))
    for name, also in names:
        key = sources.secret(name, also=also, shown=Secret.masked)
        if sources.errors:
            raise CommandError(Exit.USAGE, *sources.errors)
        if key is not None:
            return _sendable(key)
    raise CommandError(Exit.USAGE, "no admin key: set KEYLEDGER_API_KEY (or SUPER_API_KEY), or pass --api-key-file")


def read_secret_file(path: Path) -> str:
    """Return the content of a file, stripped. Raises CommandError, without the path: it may be a mistyped key."""
    try:
        content = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise CommandError(Exit.USAGE, "the key file cannot be read as text") from None
    if not content:
        raise CommandError(Exit.USAGE, "the key file is empty")
    return content


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise CommandError(Exit.USAGE, _URL_RULE) from None
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise CommandError(Exit.USAGE, _URL_RULE)
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        say("warning: http sends keys to another machine unencrypted; use https")
    return url.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sendable(key: Secret) -> Secret:
    if not key.reveal().isascii() or not key.reveal().isprintable():
        raise CommandError(Exit.USAGE, "the admin key contains characters that cannot be sent in a header")
    return key


def _object(response: "httpx.Response") -> dict[str, object] | None:
    try:
        document = response.json()
    except ValueError:
        return None
    return cast("dict[str, object]", document) if isinstance(document, dict) else None


def _exit(status: int, code: object) -> Exit:
    if code in _FOUND:
        return Exit.ERROR_FOUND
    return Exit.CONFLICT if status in _CONFLICT else Exit.UNREACHABLE if status in _UNREACHABLE else Exit.REFUSED


def _refused(status: int, problem: Mapping[str, object] | None) -> CommandError:
    if problem is None or "code" not in problem:
        return CommandError(Exit.UNREACHABLE, f"this URL is not a KeyLedger service (it responded with {status})")
    code = _exit(status, problem["code"])
    errors = problem.get("errors")
    named = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    fields = [f"{error.get('field') or error.get('pointer', '')}: {error.get('detail', '')}" for error in named]
    detail = str(problem.get("detail", ""))
    # A detail that only lists the fields' errors would repeat them.
    said = [] if detail == "; ".join(fields) else [detail]
    lines = [f"{problem.get('title', 'refused')} ({status} {problem['code']})", *said, *(f"  {one}" for one in fields)]
    return CommandError(code, *(line for line in lines if line))
