"""Which headers pass between a caller and a provider, as a table."""

import pytest

from keyledger.llm.native.headers import to_caller, to_provider
from keyledger.llm.wire.key_forms import KeyForms
from tests.support.each import each

KEY = "sk-Tenant-canary-5f3a9c"

TO_PROVIDER = {
    "kept": [
        *("content-type", "accept", "user-agent", "anthropic-version", "anthropic-beta", "idempotency-key"),
        *("x-stainless-lang", "content-encoding", "if-none-match", "content-disposition"),
    ],
    "the caller's own auth": ["authorization", "x-api-key", "api-key", "proxy-authorization", "x-goog-api-key"],
    "auth in other spellings": [
        *("api_key", "x_api_key", "authorization_", "x-auth-token", "access-token", "proxy_authorization", "x.api.key"),
        *(
            "cookie_",
            "openai_organization",
            "x_forwarded_for",
            "content_length",
            "transfer_encoding",
            "x-goog-user-project",
        ),
    ],
    "cookies": ["cookie", "cookie2"],
    "hop-by-hop": [
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"),
        *("http2-settings", "proxy-authenticate"),
    ],
    "openai's own": ["openai-organization", "openai-project", "openai-organization-id", "x-openai-anything"],
    "of the message": ["host", "content-length", "accept-encoding", "expect"],
    "where the caller is": ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "cf-connecting-ip"],
    "who a proxy says the caller is": [
        *(
            "remote-user",
            "x_remote_user",
            "remote-groups",
            "x-authenticated-user",
            "x-webauth-user",
            "impersonate-user",
        ),
        *("client-cert", "x-ssl-client-cert", "ssl-client-s-dn", "x-client-verify", "x-scope-orgid", "x-consumer-id"),
    ],
    "the caller's traces": ["traceparent", "tracestate", "baggage", "x-request-id"],
    "rewriting": ["x-http-method-override", "x-original-url", "x-rewrite-url"],
    "parts and forms of a body": [
        *("range", "if-range", "request-range", "x-ms-range", "accept-charset", "a-im", "want-digest"),
        "want-repr-digest",
    ],
    "from a browser": ["origin", "referer", "sec-fetch-site"],
}
TO_CALLER = {
    "kept": [
        *("content-type", "content-disposition", "etag", "last-modified", "retry-after", "retry-after-ms"),
        *("x-ratelimit-limit-requests", "x-ratelimit-remaining-project-tokens", "x-should-retry", "request-id"),
        *(
            "anthropic-ratelimit-requests-limit",
            "openai-processing-ms",
            "openai-version",
            "content-range",
            "x-ms-region",
        ),
    ],
    "account identity": [
        *("openai-organization", "openai-project", "anthropic-organization-id", "x-org-id", "x-account-id"),
        *("x-tenant-id", "x-ms-subscription-id", "x-user-id", "x-workspace", "x-ms-deployment-name", "x-customer"),
    ],
    "state and ways": [
        "set-cookie",
        "location",
        "operation-location",
        "content-location",
        "alt-svc",
        "link",
        "refresh",
    ],
    "hop-by-hop": ["connection", "keep-alive", "transfer-encoding", "trailer", "upgrade", "proxy-authenticate"],
    "of the message": ["content-length", "content-encoding", "date", "server", "via"],
    "of the body before it was scrubbed": ["content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"],
    "policies of another host": [
        *("strict-transport-security", "access-control-allow-origin", "content-security-policy", "www-authenticate"),
        *("clear-site-data", "report-to", "nel"),
    ],
    "receipts that are not ours": ["x-credential-source", "x-credential-key-id"],
}


def rows(table):
    return [pytest.param(name, why == "kept", id=f"{name} ({why})") for why, names in table.items() for name in names]


@each(("name", "passes"), rows(TO_PROVIDER))
def test_what_a_provider_may_see_of_a_caller(name, passes):
    assert to_provider([(name.encode(), b"v")]) == ([(name, "v")] if passes else [])


@each(("name", "passes"), rows(TO_CALLER))
@each("spelt", [str.lower, str.title])
def test_what_a_caller_may_see_of_a_provider(name, passes, spelt):
    found = to_caller([(spelt(name).encode(), b"v")], KeyForms(KEY).found_in)
    assert found == ([(name.encode(), b"v")] if passes else [])


def test_headers_that_connection_names_do_not_pass():
    given = [(b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"x-other", b"2")]
    assert to_provider(given) == [("x-other", "2")]
    assert to_caller(given, KeyForms(KEY).found_in) == [(b"x-other", b"2")]


@pytest.mark.parametrize("value", [b"a\r\nb", b"a\x00b", b"\xc3\xa9", b"\x7f"])
def test_a_value_with_other_than_printable_ascii_does_not_pass(value):
    assert to_provider([(b"x-a", value)]) == []
    assert to_caller([(b"x-a", value)], KeyForms(KEY).found_in) == []


def test_a_header_that_repeats_the_key_does_not_pass_and_the_others_do():
    echoed = [(b"x-a", b"Bearer " + KEY.encode()), (b"x-" + KEY.lower().encode(), b"1"), (b"x-b", KEY.upper().encode())]
    assert to_caller([*echoed, (b"x-fine", b"1")], KeyForms(KEY).found_in) == [(b"x-fine", b"1")]


def test_a_header_that_comes_twice_passes_twice():
    twice = [(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")]
    assert to_provider(twice) == [("anthropic-beta", "a"), ("anthropic-beta", "b")]


def test_the_provider_s_request_id_is_told_beside_ours():
    assert to_caller([(b"x-request-id", b"req_1")], KeyForms(KEY).found_in) == [(b"x-provider-request-id", b"req_1")]


def test_a_name_without_measure_does_not_pass():
    assert to_provider([(b"x" * 129, b"1")]) == []
    assert to_caller([(b"x" * 129, b"1")], KeyForms(KEY).found_in) == []


def test_the_header_that_carries_the_key_is_dropped_in_every_spelling():
    given = [(name, b"x") for name in (b"x-llm-pass", b"x_llm_pass", b"x-llm-pass_", b"x-llm-passes")]
    assert to_provider(given, "x-llm-pass") == [("x-llm-passes", "x")]
