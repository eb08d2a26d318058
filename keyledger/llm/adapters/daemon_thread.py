"""Runs blocking work in a thread that does not delay the end of the process.

`asyncio.to_thread` does not suffice: the interpreter waits for its threads at exit, even for an import that takes
seconds.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


async def run_in_daemon_thread(work: Callable[[], None]) -> None:
    """Run `work` in a daemon thread and wait for it. Raises what it raises.

    work: blocks. If the caller is cancelled, or the event loop closes, it continues unobserved.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        outcome: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised where the result is awaited
            outcome = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, outcome)

    threading.Thread(target=run, name="load LiteLLM", daemon=True).start()
    await done
