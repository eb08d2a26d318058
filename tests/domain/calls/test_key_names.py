"""Names from which servers read keys, in every spelling that some server takes for another."""

from domain.calls.key_names import is_key_header, plain
from domain.calls.native_path import normalised_query
from tests.support.each import each

KEYS = [
    *("authorization", "authorization_", "_authorization", "authorization-2", "proxy_authorization", "x-authorization"),
    *("api_key", "api-key", "api.key", "apikey", "x_api_key", "x-api_key", "x.api.key", "x-apikey", "api-key-2"),
    *("x-auth-token", "x_auth_token", "x-auth", "auth", "auth-token", "access-token", "access_token", "x-access-token"),
    *("token", "x-token", "bearer-token", "private-token", "x-secret", "client-secret", "password", "x-goog-api-key"),
    *("x-goog-api_key", "ocp-apim-subscription-key", "ocp_apim_subscription_key", "x-functions-key", "hf-token"),
    *(
        "http-authorization",
        "www-authorization",
        "helicone-auth",
        "api-auth",
        "x-basic-auth",
        "x-jwt-assertion",
        "dpop",
    ),
    *("x-amzn-oidc-data", "x-goog-iap-jwt-assertion", "pwd", "passphrase", "http-method-override", "x-cookie"),
    *("x-amz-security-token", "credentials", "jwt", "x-master-key", "x-signature", "helicone-auth-token"),
    *("x-api-keys", "apikeys"),
]
OTHERS = [
    *("accept", "content-type", "user-agent", "anthropic-version", "anthropic-beta", "idempotency-key", "x-request-id"),
    *(
        "x-stainless-lang",
        "x-stainless-retry-count",
        "x-wait-for-model",
        "x-author",
        "x-max-tokens",
        "tokens",
        "keyboard",
    ),
    *("x-cache-key", "authority", "monkey", "x-key-count", "prefer", "x-session-affinity"),
]


@each("name", KEYS)
def test_a_header_with_a_key_is_recognised(name: str) -> None:
    assert is_key_header(plain(name))


@each("name", OTHERS)
def test_other_headers_are_not(name: str) -> None:
    assert not is_key_header(plain(name))


QUERIES = [
    ("a=1;api-key=2", "a=1"),
    ("a=1;api-key=2&b=3", "a=1&b=3"),
    ("api-key=2;a=1", "a=1"),
    ("a=1%26api-key=2&b=1", "b=1"),
    ("a=1%3Bapi-key%3D2&b=1", "b=1"),
    ("api%2Dkey=1&b=1", "b=1"),
    ("api%252Dkey=1&b=1", "b=1"),
    ("API_KEY[]=1&b=1", "b=1"),
    ("api_key%5B0%5D=1&b=1", "b=1"),
    ("api.key=1&api+key=1&%20api-key=1&api-key%00=1&b=1", "b=1"),
    ("apikey=1&apiKey=1&key=1&KEY=1&token=1&access-token=1&auth_token=1&x-api-key=1&b=1", "b=1"),
    ("authorization=1&Authorization[]=1&bearer=1&password=1&secret=1&client_secret=1&b=1", "b=1"),
    ("X-Amz-Credential=1&X-Amz-Signature=1&X-Amz-Security-Token=1&sig=1&b=1", "b=1"),
    ("subscription-key=1&ocp-apim-subscription-key=1&x-goog-api-key=1&b=1", "b=1"),
    ("b=1&api-key", "b=1"),
    ("openai_api_key=1&litellm_key=1&client_key=1&job_token=1&hapikey=1&AWSAccessKeyId=1&pass=1&pwd=1&b=1", "b=1"),
    ("api[key]=1&auth[token]=1&b=1", "b=1"),
    ("a=1,api-key=2&b=1", "b=1"),
    ("apikeys=1&api_keys[]=1&b=1", "b=1"),
]
PASSES = [
    *(
        "limit=2&after=x&order=desc",
        "beta=true",
        "a=1;b=2",
        "metadata[key]=v",
        "page_token=t",
        "next_page_token=t&continuation-token=t",
        "pageToken=t&pageSize=1",
    ),
    *("include[]=step_details.tool_calls[*].file_search.results[*].content", "purpose=batch", "keys=1", "a;b;c"),
    *("filter=api-key", "query=token%20key", "after_id=1&before_id=2", "api-version=2024-10-21", "encoding=base64", ""),
]


@each(("raw", "expected"), QUERIES)
def test_a_parameter_with_a_key_is_dropped_in_every_spelling(raw: str, expected: str) -> None:
    assert normalised_query(raw) == expected


@each("raw", PASSES)
def test_parameters_that_providers_document_pass_as_they_are(raw: str) -> None:
    assert normalised_query(raw) == raw


def test_what_is_dropped_besides_is_found_in_every_spelling_too() -> None:
    assert normalised_query("API_Version=1&api%2Dversion=2&a=1;api-version[]=3", "api-version") == "a=1"
