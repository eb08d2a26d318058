"""Calls to LLM providers with a tenant's or the platform's key. What the rest of the service uses is exported here.

    Gateway        what applications call: `await gateway.complete(tenant_id, model, {"messages": [...]})`
    PassThrough    providers' own APIs, with nothing translated: `await pass_through.call(NativeCall(...))`
    CallConfiguration          what calls are made with; they ask for it when they begin
    Timeouts       their limits, in seconds
    cleanse        takes provider settings out of the environment; call it once, after settings were read

Inside, from the outside in: `gateway` resolves the key and maps failures; `parameters`, `members` and `shapes` say what
may come in and what goes out; `adapter` (LiteLLM) and `legacy` speak to providers as `plans` says, through `wire`;
`native` does all of it for the pass-through, with `native_headers`. `reach` says where providers are, `dispatch` adds
the key that a `lease` holds, `dialling` checks addresses, `reading` and `scrubbing` keep the key out of answers,
`answers` and what it uses write those anew within `bounds`, `seen` and `outcomes` turn what happened into our errors,
`metering` counts the call, `means` is what it is made with, and `warming` loads beforehand what the first one needs.
"""

from keyledger.llm.adapters.environment import cleanse
from keyledger.llm.adapters.warming import Warming
from keyledger.llm.call_configuration import CallConfiguration
from keyledger.llm.gateway import Gateway
from keyledger.llm.native.pass_through import PassThrough
from keyledger.llm.wire.dispatch import Timeouts

__all__ = ["CallConfiguration", "Gateway", "PassThrough", "Timeouts", "Warming", "cleanse"]
