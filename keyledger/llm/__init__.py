"""Calls LLM providers with a tenant's or the platform's key. The rest of the service uses what is exported here.

    Gateway             calls models: `await gateway.complete(tenant_id, model, {"messages": [...]})`
    PassThrough         calls providers' own APIs, untranslated: `await pass_through.call(NativeCall(...))`
    Relay               calls routes of OpenAI's API that providers have in the same form
    Messages            calls models in the form of Anthropic's Messages API
    KeyCheck            asks a provider whether it accepts a key
    CallConfiguration   the catalogue, resolver and endpoint rules that a call is made with
    IdleConnections     keeps connections to providers between calls; both of the above share one
    Timeouts            the limits of a call, in seconds
    Warming             loads in advance what the first call needs
    cleanse             removes provider settings from the environment; call it once, after reading the settings
    needs_litellm       says whether calls to some model of a catalogue need LiteLLM
    preload             loads LiteLLM in a process that others are forked from

`gateway` resolves the key and maps failures; `metering` counts the call. Below it, in the order of imports:
    messages   translates Anthropic's Messages API into chats and back, or passes it on by `native`
    relayed    passes requests of OpenAI's API on under the provider's name of their model, by `native`
    adapters   write requests in the provider's words, with LiteLLM or directly
    native     passes requests and responses of providers' own APIs through
    wire       sends the one request of a `lease` with its key, reads the response, and maps failures to errors
    answers    checks responses, bounds their size, and translates them into OpenAI's form
    requests   checks parameters, and computes from the provider's row where a request goes
"""

from keyledger.llm.adapters.environment import cleanse
from keyledger.llm.adapters.litellm import preload
from keyledger.llm.adapters.warming import Warming, needs_litellm
from keyledger.llm.call_configuration import CallConfiguration
from keyledger.llm.gateway import Gateway
from keyledger.llm.key_check import KeyCheck
from keyledger.llm.messages.messages import Messages
from keyledger.llm.native.pass_through import PassThrough
from keyledger.llm.relayed.routes import Relay
from keyledger.llm.wire.dispatch import Timeouts
from keyledger.llm.wire.idle_connections import IdleConnections

__all__ = [
    "CallConfiguration",
    "Gateway",
    "IdleConnections",
    "KeyCheck",
    "Messages",
    "PassThrough",
    "Relay",
    "Timeouts",
    "Warming",
    "cleanse",
    "needs_litellm",
    "preload",
]
