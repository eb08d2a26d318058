"""Earlier commits of this repository as programs that run, and the steps of a rolling upgrade with them and back again.

Promises: an earlier tree comes from the history of the clone and runs with the packages of this environment, which
have to include those that it needs. The clone is only read.
"""

import itertools
import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from scripts.demo.stand_in_provider import StandInProvider
from scripts.terminal.exits import Exit
from tests.support.command_line import command
from tests.support.places import REPOSITORY
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, credential, environment

FORMAT = "5db8b3b431329544b124b45d02b61ff6058b80be"
"""The commit with which the present format of events was complete; later, the oldest supported release."""
BEFORE = "HEAD~1"
REFUSALS = (
    "a newer release of KeyLedger has migrated this database: run that release",
    "and this release cannot read them: run that release or a newer one",
)
"""The sentences with which an earlier release may refuse a database that a later one used."""
_TENANTS = [f"{number:08}-1111-4111-8111-111111111111" for number in range(1, 6)]
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*==[^ ;\\]+)", re.MULTILINE)


def missing(commit: str) -> str:
    """Return why a commit cannot be run, "" if it can."""
    try:
        found = _git("show", f"{commit}:requirements.lock")
    except OSError:
        return "git is not installed"
    if found.returncode:
        return f"the clone has no {commit}: it is shallow, or a copy without its history"
    present = set(_PIN.findall((REPOSITORY / "requirements-dev.lock").read_text()))
    lacking = sorted(set(_PIN.findall(found.stdout.decode())) - present)
    return f"{commit} needs other packages than this environment has: {', '.join(lacking)}" if lacking else ""


def tree_of(commit: str, folder: Path) -> Path:
    """Write the files of a commit into a folder, and return it."""
    archive = _git("archive", commit, check=True).stdout
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)  # Python 3.11.2 extracts without a filter
    return folder


def _git(*arguments: str, check: bool = False) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=check)


@dataclass
class RollingUpgrade:
    """One database, an earlier program and this one. found: what was wrong, in sentences.

    changes: how many commands each node carries out in each step. acknowledged: ids of requests. served_again: whether
    the earlier program served after the later one.
    """

    url: str
    earlier: Path
    folder: Path
    provider: StandInProvider
    changes: int
    found: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    calls: int = 0
    served_again: bool = False
    _keys: dict[str, str] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def run(self) -> None:
        """Go through the steps."""
        with self._service("earlier") as earlier, client_of(earlier.url) as old:
            self._work(old)
            with self._service("this") as this, client_of(this.url) as new:
                for client in (new, old, new, old):
                    self._work(client)
                self._require_ready(old, new)
            self._work(old)
        with self._service("this") as this, client_of(this.url) as new:
            self._work(new)
        self._go_back()
        with self._service("this") as this, client_of(this.url) as new:
            self._work(new)
            self._require_ready(new)
        self._verify()

    def _settings(self, name: str) -> dict[str, str]:
        return environment(
            DATABASE_URL=self.url,
            DATA_DIR=str(self.folder / name),
            AI_MODELS_FILE=DIRECT_MODELS,
            OPENAI_API_BASE=self.provider.url,
            OPENAI_API_KEY="sk-global-0123456789",
            ENDPOINT_ALLOWED_HOSTS=urlsplit(self.provider.url).netloc,
        )

    def _service(self, name: str) -> ServiceProcess:
        tree = self.earlier if name == "earlier" else REPOSITORY
        return ServiceProcess(self._settings(name), self.folder, tree=tree)

    def _go_back(self) -> None:
        try:
            with self._service("earlier") as earlier, client_of(earlier.url) as old:
                self._work(old)
                self._require_ready(old)
                self.served_again = True
        except AssertionError as ended:
            if not any(sentence in str(ended) for sentence in REFUSALS):
                self.found.append(f"the earlier program neither serves again nor says why: {ended}")

    def _work(self, client: Client) -> None:
        """Set, replace and delete credentials, and call with each of them, through one node."""
        for number in itertools.islice(self._numbers, self.changes):
            tenant = _TENANTS[number % len(_TENANTS)]
            request = f"request-{number}"
            if number % 4 == 0 and tenant in self._keys:
                answer = client.http.delete(credential(tenant, "openai"), headers={"X-Request-ID": request})
                self._keys.pop(tenant)
            else:
                body = {"api_key": f"sk-release-{number:010}"}
                answer = client.http.put(credential(tenant, "openai"), json=body, headers={"X-Request-ID": request})
                self._keys[tenant] = body["api_key"]
            if answer.status_code == 200:
                self.acknowledged.append(request)
            else:
                self.found.append(f"{answer.request.method} {request} was answered {answer.status_code}: {answer.text}")
            self._call(client, tenant)

    def _call(self, client: Client, tenant: str) -> None:
        self.provider.forget()
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        answer = client.native(tenant, "openai", "v1/chat/completions", json=body)
        self.calls += 1
        arrived, wanted = [one.key for one in self.provider.requests], self._keys.get(tenant, "sk-global-0123456789")
        if arrived != [wanted]:
            self.found.append(f"a call of {tenant} carried {arrived}, not {wanted}: {answer.text}")

    def _require_ready(self, *clients: Client) -> None:
        for client in clients:
            answer = client.http.get("/readyz")
            if answer.status_code != 200:
                self.found.append(f"a node is not ready: {answer.text}")

    def _verify(self) -> None:
        with psycopg.connect(self.url) as database:
            rows = database.execute(
                "SELECT convert_from(state, 'UTF8')::json ->> 'request_id' FROM keyledger_events"
                " WHERE topic IN ('CredentialSet', 'CredentialDeleted')"
            )
            logged = Counter(request for (request,) in rows)
        wrong = {request: logged[request] for request in self.acknowledged if logged[request] != 1}
        if wrong:
            self.found.append(f"acknowledged requests that are not in the log once: {wrong}")
        for arguments in (("verify",), ("replay", "--compare")):
            ended = command(self.folder, self._settings("this"), *arguments)
            if ended.code != Exit.OK:
                self.found.append(f"keyledger {' '.join(arguments)} ended with {ended.code}: {ended.err}")
