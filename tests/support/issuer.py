"""An issuer of tokens on loopback: real HTTP, and keys and answers that a test changes."""

import base64
import functools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey

AUDIENCE = "keyledger"
SUBJECT = "system:serviceaccount:billing:app"


@functools.cache
def rsa_key(name: str) -> RSAKey:
    """An RSA key, made once for a run: making one takes 100 ms."""
    return RSAKey.generate_key(2048, {"kid": name})


@functools.cache
def ec_key(name: str, curve: Any = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": name})


def public(key: Key, **members: Any) -> dict[str, Any]:
    """The entry of a JWK set for a key."""
    return {**key.as_dict(private=False), **members}


@dataclass
class Answer:
    """The answer of a path. until: nothing is answered before it is set."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    until: threading.Event | None = None


@dataclass
class TokenIssuer:
    """The server. keys: what its JWK set lists. answers: what paths answer in place of the usual. asked: paths.

    sent: headers and body of each form. metadata: further members of the discovery document.
    """

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public(rsa_key("one"))])
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: list[tuple[dict[str, str], str]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return Answer(json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.metadata}).encode())
        if path == "/keys":
            return Answer(json.dumps({"keys": self.keys}).encode())
        return Answer(b"{}", 404)

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a good token; a claim changed to None is left out."""
        now = int(time.time())
        usual = {"iss": self.url, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600}
        return {name: value for name, value in {**usual, **changed}.items() if value is not None}

    def token(self, key: Key | None = None, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """A token that this issuer signs."""
        key = key or rsa_key("one")
        algorithm = "RS256" if key.key_type == "RSA" else "ES256"
        wanted = {"alg": algorithm, "kid": key.get("kid"), "typ": "JWT", **(header or {})}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return signed(key, wanted, json.dumps(self.claims(**changed)).encode())


def signed(key: Key, header: Mapping[str, Any], payload: bytes) -> str:
    """A token with any header and payload, rightly signed: the library refuses to write some of these."""
    begun = f"{_encoded(json.dumps(header).encode())}.{_encoded(payload)}"
    signature = jws.JWSRegistry.algorithms[header["alg"]].sign(begun.encode(), key)
    return f"{begun}.{_encoded(signature)}"


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    """A token with the signature given."""
    return ".".join(_encoded(part) for part in (json.dumps(header).encode(), json.dumps(claims).encode(), signature))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_issuer() -> Iterator[TokenIssuer]:
    """Serve while the block lasts."""
    issuer = TokenIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = issuer.answer(self.path)
            if answer.until is not None:
                answer.until.wait(30)
            try:
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except ConnectionError:  # the client left, as it is to
                return

        def do_POST(self) -> None:
            issuer.sent.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            for answer in issuer.answers.values():
                if answer.until is not None:
                    answer.until.set()
            server.shutdown()
            thread.join()
