"""`run`: the demo: an embedded PostgreSQL, stand-in providers, the guided tour, and then a service to try.

Promises: it exits with 0 only if every claim of the tour held; it has its own keys, settings and database, and never
touches those of `serve`, whatever the environment says.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS, StartEnvironment
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, print_line, print_table, say

if TYPE_CHECKING:  # loaded only when the command runs
    import socket

    from domain.credentials.secret import Secret
    from scripts.demo.tour import Outcome, Stage

_PATIENCE_S = 300  # the first call loads the LLM library, which takes a minute on a busy machine


@dataclass(frozen=True, slots=True)
class _Demo:
    stage: "Stage"
    url: str
    admin_key: "Secret"
    data_dir: Path


def run(
    once: Annotated[bool, typer.Option("--once", help="Exit after the tour.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on, or the next free one.")] = 8000,
    as_json: JsonOption = False,
) -> None:
    """Run the demo: a guided tour, then a service to try.

    It has its own keys and database, and stand-ins for the providers. Never use it in production.
    """
    from keyledger.serving.signals import orderly_end

    say("starting PostgreSQL, a stand-in for the providers, and the service")
    started = time.monotonic()
    with orderly_end(), _demo(0 if once else port) as demo:
        say(f"ready after {time.monotonic() - started:.1f} s; the tour begins")
        say("")
        outcomes = _take_tour(demo, as_json=as_json)
        failed = any(outcome.error for outcome in outcomes)
        if as_json:
            print_json(_report(demo, outcomes, serving=not once))
        if failed:
            raise CommandError(Exit.ERROR_FOUND, "a claim of the tour does not hold")
        say(f"all {len(outcomes)} claims hold ({time.monotonic() - started:.1f} s)")
        say("")
        if not once:
            _play(demo, quiet=as_json)


@contextmanager
def _demo(port: int) -> Iterator[_Demo]:
    """Start everything. The service loads its LLM library, which takes seconds, during the tour's first step."""
    import httpx

    from keyledger.embedded_postgres import start
    from keyledger.llm import cleanse
    from keyledger.serving.http_server import listen, listen_near
    from keyledger.settings.settings import load_data_dir
    from scripts.demo.demo import DATABASE, demo_environment, new_key, promoted, verifier_key
    from scripts.demo.stand_in_provider import StandInProvider
    from scripts.demo.tour import new_stage

    data_dir = load_data_dir(OF_THIS_PROCESS, Path(".env"))
    cleanse(StartEnvironment(os.environ))
    admin_key, global_key = new_key("demo"), new_key("sk-platform-mistral")
    with (
        StandInProvider(accepted=()) as provider,
        start(data_dir) as server,
        listen_near("127.0.0.1", port) as listener,
        ExitStack() as running,
    ):
        dsn, kept_port = server.dsn(DATABASE), listener.getsockname()[1]
        environment = demo_environment(data_dir, provider.url, admin_key, global_key)
        url = running.enter_context(_service(environment, dsn, listener))

        def promote() -> None:
            running.close()
            running.enter_context(_service(promoted(environment), dsn, listen("127.0.0.1", kept_port)))

        headers = {"X-API-Key": admin_key.reveal()}
        with httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE_S, trust_env=False) as http:
            stage = new_stage(http, provider, dsn, verifier_key(data_dir), global_key, promote)
            yield _Demo(stage, url, admin_key, data_dir)


@contextmanager
def _service(environment: Mapping[str, str], dsn: str, listener: "socket.socket") -> Iterator[str]:
    """Serve with these settings until the block ends. Yields the URL."""
    from keyledger.assembly.compose import build
    from keyledger.serving.http_server import served_beside
    from keyledger.settings import logs
    from keyledger.settings.settings import load

    settings = load(environment, None)
    logs.configure(settings.log_level, settings.log_format)
    service = build(settings, dsn)
    try:
        service.prepare()
        with served_beside(service.app, listener) as url:
            yield url
    finally:
        service.close()


def _take_tour(demo: _Demo, *, as_json: bool) -> list["Outcome"]:
    from scripts.demo.tour import STEPS, tour

    outcomes = []
    for number, outcome in enumerate(tour(demo.stage), start=1):
        outcomes.append(outcome)
        if as_json:
            continue
        verdict = "holds" if outcome.error is None else "DOES NOT HOLD"
        print_line(f"{number}/{len(STEPS)}  {outcome.claim}: {verdict} ({outcome.seconds:.2f} s)", style="bold")
        if outcome.table is not None:
            print_table(outcome.table)
        else:
            print_line(f"     {outcome.error}", style="red")
            print_line("")
    return outcomes


def _play(demo: _Demo, *, quiet: bool) -> None:
    """Keep serving until a signal arrives."""
    tenant = demo.stage.acme.id
    refused = demo.stage.refused_key
    # From now on, users try made-up keys.
    demo.stage.provider.accepted = lambda key: key != refused.reveal()
    if not quiet:
        print_line(f"The demo is running at {demo.url}", style="bold")
        print_line(f"One-time admin key:    {demo.admin_key.reveal()}", style="bold")
        print_line("In another terminal, try for example:")
        print_line(f"  export KEYLEDGER_URL={demo.url} KEYLEDGER_API_KEY={demo.admin_key.reveal()}")
        print_line(f"  .venv/bin/keyledger credentials list {tenant}")
    say(f"demo keys and data are in {demo.data_dir}; never use them in production. Press Ctrl-C to stop.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        say("stopped")


def _report(demo: _Demo, outcomes: list["Outcome"], *, serving: bool) -> dict[str, object]:
    steps = [
        {
            "claim": outcome.claim,
            "holds": outcome.error is None,
            "fault": outcome.error,
            "seconds": round(outcome.seconds, 3),
            "rows": [dict(zip(outcome.table.columns, row, strict=True)) for row in outcome.table.rows]
            if outcome.table
            else [],
        }
        for outcome in outcomes
    ]
    served = {"url": demo.url, "admin_key": demo.admin_key.reveal()} if serving else {}
    return {"ok": all(step["holds"] for step in steps), "steps": steps} | served
