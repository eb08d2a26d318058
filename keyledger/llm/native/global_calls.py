"""Decides which native calls the global key makes, before any part of them is sent, and in which form they are sent.

Promises: with the global key only an inference route is called, by POST, with a model that the catalogue has for the
provider, and with nothing that leaves state in the platform's account or reaches it (see `inference_routes` and
`stateless` in `requests`). `store` goes as false where the provider would take its absence for true. The caller's
headers and query choose nothing. A route that the operator opened (NATIVE_GLOBAL_ROUTES) is called as it is.
A JSON body is read whole and strictly, and passed on as it was sent: it then has one meaning for every parser, since
its member names are known, unique and in plain ASCII, and its numbers keep their digits. A multipart body is checked
while it is passed on (see `form`). The media type is written again.
Refuses: everything else, with an error that names the rule and the remedy.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from api.front.json_body import PARSED_INLINE_MAX, parse_bounded
from domain.calls.native import Body, NativeCall
from domain.credentials.providers import Provider
from domain.errors import ErrorCode, InvalidField, InvalidRequestError, NotFoundError
from keyledger.llm.call_configuration import CallConfiguration
from keyledger.llm.native.form import CONTENT_TYPE, CheckedForm
from keyledger.llm.requests.inference_routes import ROUTES, InferenceRoute
from keyledger.llm.requests.provider_addresses import ProviderAddress
from keyledger.llm.requests.stateless import REMEDY, refuse_members, require_stateless, unknown_member

_PASSED_ON = frozenset({b"accept", b"user-agent", b"anthropic-version", b"anthropic-beta"})
_QUERY = re.compile(r"(?:beta=true|api-version=[A-Za-z0-9.-]*)(?:&(?:beta=true|api-version=[A-Za-z0-9.-]*))*|")
_JSON = re.compile(r'application/json *(?:; *charset="?utf-8"?)? *', re.IGNORECASE)


async def global_call(
    call: NativeCall, address: ProviderAddress, provider: Provider, configuration: CallConfiguration
) -> NativeCall:
    """Return the call as it may be sent with the global key.

    Raises InvalidRequestError, NotFoundError for a model that is not in the catalogue, and the errors of reading and
    parsing the body.
    """
    operation = address.operation(call.path)
    if any(configuration.native.opens(call.provider, call.method, path) for path in (call.path, operation)):
        return call
    route = ROUTES.get(operation) if call.method == "POST" else None
    if route is None:
        raise _refused("calls only inference routes, by POST, such as v1/chat/completions")
    if not _QUERY.fullmatch(call.query):
        raise _refused("passes on no query parameters but beta=true")
    admission = _Admission(call, operation, route, address, provider, configuration)
    return await admission.admitted()


@dataclass(frozen=True, slots=True)
class _Admission:
    """The check of one call to an inference route. operation: its path below the provider's base address."""

    call: NativeCall
    operation: str
    route: InferenceRoute
    address: ProviderAddress
    provider: Provider
    configuration: CallConfiguration

    async def admitted(self) -> NativeCall:
        deployment = self.address.deployment_for(self.operation)
        if deployment is not None:
            self._check_model(deployment)
        stated = [value for name, value in self.call.headers if name == b"content-type"]
        media_type = stated[0].decode("latin-1").strip() if len(stated) == 1 else ""
        encoded = any(
            name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}
            for name, value in self.call.headers
        )
        form = CONTENT_TYPE.fullmatch(media_type) if self.route.form else None
        if encoded or not (form or _JSON.fullmatch(media_type)):
            kinds = "application/json in UTF-8" + (" or multipart/form-data" if self.route.form else "")
            raise InvalidRequestError(
                [InvalidField("Content-Type", f"must be {kinds}, without a content encoding, for the platform's key")]
            )
        if form is not None:
            return await self._form(form[2], needs_model=deployment is None)
        text = self.call.body if isinstance(self.call.body, bytes) else await self.call.body.whole()
        inline = len(text) <= PARSED_INLINE_MAX
        body = self._checked(text) if inline else await asyncio.to_thread(self._checked, text)
        return self._sent(body, len(body), "application/json")

    async def _form(self, boundary: str, *, needs_model: bool) -> NativeCall:
        body = self.call.body
        form = CheckedForm(
            _pieces(body) if isinstance(body, bytes) else body,
            boundary,
            self._check_field,
            self._check_model,
            needs_model=needs_model,
        )
        await form.begin()
        length = len(body) if isinstance(body, bytes) else self.call.length
        return self._sent(form, length, f"multipart/form-data; boundary={boundary}")

    def _checked(self, text: bytes) -> bytes:
        """Return the text of a JSON body that may be sent. Raises InvalidRequestError, NotFoundError, HttpError."""
        body = parse_bounded(text)
        if not isinstance(body, dict):
            raise InvalidRequestError([InvalidField("the body", "must be a JSON object")])
        require_stateless(body, self.route, self._serves)
        if self.address.deployment_for(self.operation) is None:
            if not isinstance(model := body.get("model"), str):
                raise InvalidRequestError([InvalidField("model", "is required, as a text")])
            self._check_model(model)
        if "store" in body or self.operation not in self.provider.keeps:
            return text
        opened = text.index(b"{") + 1
        return text[:opened] + b'"store":false' + (b"," if body else b"") + text[opened:]

    def _check_field(self, name: str) -> None:
        if name not in self.route.members:
            refuse_members([unknown_member(name, self.route)])

    def _check_model(self, name: str) -> None:
        if not self._serves(name):
            raise NotFoundError(
                ErrorCode.UNKNOWN_MODEL,
                f"The platform's key serves models of the catalogue ({self.configuration.catalogue.source}) only, by "
                f"the names that {self.provider.name} knows them by, and this is not one. {REMEDY}",
            )

    def _serves(self, name: str) -> bool:
        catalogue, provider = self.configuration.catalogue, self.provider.name
        if name == self.address.deployment:
            # The operator's deployment serves all models of the catalogue that are Azure's.
            return any(model.provider == provider for model in catalogue.models)
        return catalogue.serves(provider, name)

    def _sent(self, body: bytes | Body, length: int | None, media_type: str) -> NativeCall:
        headers = [header for header in self.call.headers if header[0] in _PASSED_ON]
        return replace(
            self.call, headers=[*headers, (b"content-type", media_type.encode("ascii"))], body=body, length=length
        )


def kept_in_account() -> InvalidRequestError:
    """Return the error for a call that reaches what the platform's account keeps."""
    return _refused("does not reach what its account keeps, such as files, batches and stored responses")


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _refused(what: str) -> InvalidRequestError:
    return InvalidRequestError((), ErrorCode.GLOBAL_KEY_NOT_ALLOWED, f"The platform's key {what}. {REMEDY}")
