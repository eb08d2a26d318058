"""A tenant's endpoint is connected to at a checked address only, whatever its name resolves to in that moment."""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from domain.credentials.secret import Secret
from domain.endpoints.rules import EndpointRules
from domain.errors import ProviderUnavailableError
from keyledger.llm.requests.origin import BEARER, origin_of
from keyledger.llm.requests.prepared import Prepared
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import CallFailedError, Dispatcher
from keyledger.llm.wire.lease import Lease, Owner
from keyledger.llm.wire.wire import Wire
from tests.keyledger.llm.rig import TENANT, Keys, stand_in, whole, with_gateway
from tests.support.loopback import serving
from tests.support.native_provider import native_provider

NAME = "llm.example.com"


def answering(*addresses: str) -> Lookup:
    """Return a lookup that finds these addresses for every name."""

    async def lookup(host: str, port: int) -> Sequence[str]:
        return addresses

    return lookup


def _reason(url: str, lookup: Lookup, allowed: tuple[str, ...] = (), model: str = "openai-litellm") -> str:
    with pytest.raises(ProviderUnavailableError) as caught:
        with_gateway(
            Keys(url, chosen_by_tenant=True),
            lambda gateway: whole(gateway, model),
            allowed=allowed,
            lookup=lookup,
        )
    return caught.value.reason


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        pytest.param(["127.0.0.1"], "loopback-address", id="loopback"),
        pytest.param(["10.0.0.5"], "private-address", id="private"),
        pytest.param(["::1"], "loopback-address", id="loopback in IPv6"),
        pytest.param(["::ffff:127.0.0.1"], "loopback-address", id="IPv4 inside IPv6"),
        pytest.param(["93.184.215.14", "127.0.0.1"], "loopback-address", id="one of two"),
    ],
)
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(addresses, reason):
    with stand_in() as server:
        port = urlsplit(server.url).port
        assert _reason(f"https://{NAME}:{port}", answering(*addresses)) == reason
        assert server.requests == []


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"]
)
@pytest.mark.parametrize("allowed", [(), (NAME, "0.0.0.0/0", "::/0")], ids=["not listed", "listed by the operator"])
@pytest.mark.parametrize("model", ["openai-litellm", "vllm-litellm"])
def test_link_local_and_metadata_addresses_are_refused_even_for_listed_hosts(address, allowed, model):
    assert _reason(f"https://{NAME}", answering(address), allowed, model) == "link-local-or-metadata-address"


def test_a_self_hosted_provider_is_connected_to_at_a_private_address_and_a_cloud_provider_is_not(monkeypatch):
    with stand_in() as server:
        port = urlsplit(server.url).port
        monkeypatch.setattr(
            "domain.endpoints.addresses._LOOPBACK", ()
        )  # so that the stand-in's address is a private one
        keys = Keys(f"http://tenant-vllm:{port}", chosen_by_tenant=True)
        lookup = answering("127.0.0.1")
        assert with_gateway(keys, lambda gateway: whole(gateway, "vllm-litellm"), lookup=lookup)["choices"]
        assert server.requests[0].headers["host"] == f"tenant-vllm:{port}"
        assert _reason(f"https://{NAME}:{port}", lookup) == "private-address"
        assert len(server.requests) == 1


def _failures_in_a_row(url: str, *calls: tuple[EndpointRules, bool]) -> list[str | None]:
    """Send a request for each of (rules, self-hosted) by one dispatcher, connections kept, and say why each failed."""

    async def run() -> list[str | None]:
        in_force = EndpointRules()
        dispatcher = Dispatcher(lambda: in_force, lookup=answering("127.0.0.1"))
        said = []
        for rules, self_hosted in calls:
            in_force = rules
            lease = Lease(
                origin_of(URL(url)),
                BEARER,
                Secret("sk-canary"),
                owner=Owner(TENANT, "openai", 1),
                checked=True,
                self_hosted=self_hosted,
                streaming=False,
            )
            answer = await dispatcher.send(lease, "POST", URL(url), [], b"{}", dispatcher.deadline())
            if answer is not None:
                while await answer.content.read(1000):
                    pass  # so that its connection is kept
            said.append(lease.observation.failure)
        await dispatcher.aclose()
        return said

    return asyncio.run(run())


def test_a_connection_that_was_kept_for_a_self_hosted_provider_serves_no_other(monkeypatch):
    with native_provider() as server:
        url = server.url.replace("127.0.0.1", NAME)
        monkeypatch.setattr(
            "domain.endpoints.addresses._LOOPBACK", ()
        )  # so that the stand-in's address is a private one
        own, cloud = (EndpointRules(), True), (EndpointRules(), False)
        assert _failures_in_a_row(url, own, cloud, own) == [None, "private-address", None]
        assert len(server.heard) == 2


def test_a_connection_that_was_kept_under_other_rules_serves_nobody_under_these():
    with native_provider() as server:
        url = server.url.replace("127.0.0.1", NAME)
        listed, unlisted = (EndpointRules.of([NAME]), False), (EndpointRules(), False)
        assert _failures_in_a_row(url, listed, unlisted) == [None, "loopback-address"]
        assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("host", "self_hosted", "reason"),
    [
        ("127.0.0.1", False, "loopback-address"),
        ("[::1]", False, "loopback-address"),
        ("10.1.2.3", False, "private-address"),
        ("127.0.0.1", True, "loopback-address"),
        ("169.254.169.254", True, "link-local-or-metadata-address"),
        ("[64:ff9b:1::a9fe:a9fe]", True, "link-local-or-metadata-address"),
    ],
)
def test_an_endpoint_that_is_an_address_itself_is_checked_by_the_wire_too(host, self_hosted, reason):
    lease = Lease(
        origin_of(URL(f"https://{host}:9")),
        BEARER,
        Secret("sk-canary"),
        owner=Owner(TENANT, "openai", 1),
        checked=True,
        self_hosted=self_hosted,
        streaming=False,
    )

    async def run() -> None:
        wire = Wire(EndpointRules, lookup=answering())
        with pytest.raises(CallFailedError):
            await wire.send(lease, f"https://{host}:9/", Prepared(b"{}"))
        await wire.aclose()

    asyncio.run(run())
    assert lease.observation.failure == reason


@pytest.mark.parametrize(
    "endpoint",
    [
        pytest.param("http://api.example.com", id="no TLS"),
        pytest.param("https://10.1.2.3", id="a private address"),
        pytest.param("https://vllm.internal", id="a private name"),
        pytest.param("https://api.example.com?to=elsewhere", id="a query"),
        pytest.param("https://user@api.example.com", id="a user name"),
    ],
)
@pytest.mark.parametrize("model", ["openai-litellm", "azure-litellm", "openai-litellm-emb"])
def test_a_stored_endpoint_that_the_rules_do_not_allow_any_more_is_not_called(endpoint, model):
    looked_up = []

    async def lookup(host: str, port: int) -> Sequence[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    async def use(gateway):
        if model.endswith("emb"):
            return await gateway.embed(TENANT, model, {"input": "hello"})
        return await whole(gateway, model)

    with pytest.raises(ProviderUnavailableError) as caught:
        with_gateway(Keys(endpoint, chosen_by_tenant=True), use, lookup=lookup)
    assert caught.value.reason == "endpoint-not-allowed"
    assert looked_up == []


def test_a_listed_private_host_is_reached_at_the_address_that_was_checked():
    with stand_in() as server:
        port = urlsplit(server.url).port
        keys = Keys(f"http://{NAME}:{port}", chosen_by_tenant=True)
        answer = with_gateway(
            keys,
            lambda gateway: whole(gateway, "openai-litellm"),
            allowed=(f"{NAME}:{port}",),
            lookup=answering("127.0.0.1"),
        )
        assert answer["choices"]
        assert server.requests[0].headers["host"] == f"{NAME}:{port}"


def test_a_name_that_changes_its_address_after_the_check_gains_nothing():
    asked = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.215.14"] if len(asked) == 0 else ["127.0.0.1"]

    with stand_in() as server:
        assert _reason(f"https://{NAME}:{urlsplit(server.url).port}", rebinding) == "loopback-address"
        assert asked == [NAME]
        assert server.requests == []


def test_an_unchecked_connection_for_the_platform_does_not_serve_a_tenants_endpoint():
    with stand_in() as server:
        keys = Keys(server.url)

        async def use(gateway):
            await whole(gateway, "openai-litellm")
            keys.chosen_by_tenant = True
            keys.url = server.url.replace("http:", "https:")
            with pytest.raises(ProviderUnavailableError, match="endpoint-not-allowed"):
                await whole(gateway, "openai-litellm")
            keys.url = f"https://{NAME}:{urlsplit(server.url).port}"
            with pytest.raises(ProviderUnavailableError, match="loopback-address"):
                await whole(gateway, "openai-litellm")

        with_gateway(keys, use, lookup=answering("127.0.0.1"))
        assert len(server.requests) == 1


def test_the_name_decides_which_certificate_is_accepted(tmp_path, monkeypatch):
    certificate = _certificate(tmp_path, NAME)
    with _tls_front(certificate) as port, monkeypatch.context() as patched:
        url, allowed = f"https://{NAME}:{port}", (f"{NAME}:{port}", f"other.example.com:{port}")
        assert _reason(url, answering("127.0.0.1"), allowed) == "certificate-not-trusted"
        patched.setenv("SSL_CERT_FILE", str(certificate))
        assert _reason(url, answering("127.0.0.1"), allowed) == "answered-503"
        other = url.replace(NAME, "other.example.com")
        assert _reason(other, answering("127.0.0.1"), allowed) == "certificate-not-trusted"


def _certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("192.0.2.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


@contextmanager
def _tls_front(certificate: Path) -> Iterator[int]:
    """Serve TLS on loopback; every request is answered 503."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    served = serving(answer, ssl=context)
    port = loop.run_until_complete(served.__aenter__())
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.run_until_complete(served.__aexit__(None, None, None))
        loop.close()
