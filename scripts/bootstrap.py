"""Installs exactly what the lock file names into `.venv`, on a machine with only Python 3.11 and a package index.

    python3 scripts/bootstrap.py run     the packages to run (or to develop, if those are already installed)
    python3 scripts/bootstrap.py test    the packages to develop
    python3 scripts/bootstrap.py lock    resolve both lock files again

Promises: every package, and the installer itself, is checked against a hash in the clone; nothing is installed outside
it; no Python is downloaded; a mirror that only pip's configuration names is used; an interrupted installation is
repeated by the next call.
Refuses, in one line that says what to do: an older Python, one without pip and venv, a system without a build of the
embedded PostgreSQL.

uv does the work because it takes seconds where pip takes a minute. It is the release pinned in requirements/uv.txt,
kept in `.tools` (an exact installation would remove it from `.venv`), and never one that happens to be on PATH, since
the installer decides what is installed. A uv that you trust and name with `UV=/path/to/uv` is used if it is the pinned
release; `uv run` names itself so, too. Its hash is not checked, because the pins are hashes of archives. If uv fails,
pip installs the same lock file. Only the standard library is imported, and the syntax is old enough for an old Python
to reach the version check.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "KeyLedger needs Python 3.11 or later and this is {}.{}; try: make PYTHON=python3.12 {}".format(
            sys.version_info[0], sys.version_info[1], " ".join(sys.argv[1:2]) or "run"
        )
    )

import ast
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path

_Command = list[str | Path]

_ROOT = Path(__file__).resolve().parent.parent
_VENV = _ROOT / ".venv"
_TOOLS = _ROOT / ".tools"
_UV_PIN = _ROOT / "requirements" / "uv.txt"
_LOCKS = {"run": "requirements.lock", "test": "requirements-dev.lock"}
_COOLING_OFF = "1 week"  # hijacked releases are found within days
_NO_INSTALLER = (
    "this Python has neither pip nor venv; install them first (Debian and Ubuntu: apt install python3-venv,"
    " Fedora: dnf install python3-pip, Alpine: apk add py3-pip)"
)
_NO_DATABASE_BUILD = (
    "the PostgreSQL it brings has no build for this system (Windows, or a musl one such as Alpine); use macOS, or a"
    " Linux system or image with glibc, such as Debian's"
)
_THE_PROJECT_ITSELF = ["--no-deps", "--no-build-isolation", "--editable", "."]

# The options of pip's configuration that say where packages come from, and uv's variables for them.
_PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "ALL_PROXY",
    "cert": "SSL_CERT_FILE",
}


def main(arguments: list[str]) -> int:
    """Install or resolve the environment that `arguments` name, and return the exit code."""
    known = {"litellm": 2} | dict.fromkeys((*_LOCKS, "lock"), 1)
    if not arguments or len(arguments) != known.get(arguments[0]):
        print("usage: bootstrap.py run|test|lock|litellm VERSION")
        return 2
    os.chdir(_ROOT)
    try:
        if arguments[0] == "lock":
            _resolve()
        elif arguments[0] == "litellm":
            _fetch_litellm(arguments[1])
        else:
            _install(arguments[0])
    except subprocess.CalledProcessError as failure:
        print(f"failed, see above: {' '.join(map(str, failure.cmd))}", file=sys.stderr)
        return 1
    except RuntimeError as error:  # the text says what to do
        print(f"KeyLedger cannot be installed: {error}", file=sys.stderr)
        return 1
    return 0


def _install(purpose: str) -> None:
    if "musl" in str(sysconfig.get_config_var("SOABI")) or sys.platform == "win32":
        raise RuntimeError(_NO_DATABASE_BUILD)
    if (_VENV / ".test").exists():
        purpose = "test"
    lock = _LOCKS[purpose]
    begin = time.monotonic()
    for stamp in _LOCKS:
        (_VENV / f".{stamp}").unlink(missing_ok=True)
    try:
        uv = _uv()
        print(f"Installing {_count(lock)} locked packages into .venv (Python {sys.version.split()[0]}) ...", flush=True)
        _install_with_uv(uv, lock)
    except (subprocess.CalledProcessError, OSError):
        print("That did not work with uv. Trying pip, which takes about a minute ...", file=sys.stderr, flush=True)
        _install_with_pip(lock)
    # The development environment serves both purposes, so `make run` and `make test` never undo each other.
    for stamp in _LOCKS if purpose == "test" else ("run",):
        (_VENV / f".{stamp}").touch()
    print(f"Installed in {time.monotonic() - begin:.1f} s", flush=True)


def _install_with_uv(uv: str, lock: str) -> None:
    environment = _uv_environment()
    if not _venv_fits():
        shutil.rmtree(_VENV, ignore_errors=True)
        _run([uv, "venv", "--quiet", "--python", sys.executable, _VENV], environment)
    target: _Command = ["--quiet", "--python", _VENV / "bin" / "python"]
    sync: _Command = [uv, "pip", "sync", *target, "--require-hashes", lock]
    # Offline first: unless the lock file changed, nothing has to be fetched.
    if subprocess.run([*sync, "--offline"], env=environment, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        _run(sync, environment)
    _run([uv, "pip", "install", *target, *_THE_PROJECT_ITSELF], environment)


def _install_with_pip(lock: str) -> None:
    """Install with pip into an empty environment, because it never removes packages; on failure restore the old one."""
    former = _VENV.with_name(".venv.former")
    shutil.rmtree(former, ignore_errors=True)
    if _VENV.exists():
        _VENV.rename(former)
    try:
        pip = _pip_for_new_venv()
        _run([*pip, "install", "--quiet", "--require-hashes", "--requirement", lock], _pip_environment())
        _run([*pip, "install", "--quiet", *_THE_PROJECT_ITSELF], _pip_environment())
    except BaseException:
        shutil.rmtree(_VENV, ignore_errors=True)
        if former.exists():
            former.rename(_VENV)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _pip_for_new_venv() -> _Command:
    python = _VENV / "bin" / "python"
    if _has("pip"):
        _run([sys.executable, "-m", "venv", "--without-pip", _VENV])
        return [sys.executable, "-m", "pip", "--python", python]
    if _has("ensurepip"):
        _run([sys.executable, "-m", "venv", _VENV])
        return [python, "-m", "pip"]
    raise RuntimeError(_NO_INSTALLER)


def _uv() -> str:
    named = os.environ.get("UV")
    if not named:
        return str(_pinned_uv())
    wanted = _UV_PIN.read_text().split()[0].replace("==", " ")
    found = _version_of(named)
    if found == wanted:
        return named
    print(
        f"UV={named} is {found or 'not a uv that runs'}, and the pinned release is {wanted}, which is used instead."
        " Without a package index, put its wheel into a folder and set PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER.",
        file=sys.stderr,
        flush=True,
    )
    return str(_pinned_uv())


def _version_of(uv: str) -> str:
    """Return the name and version that a program gives itself, such as `uv 1.2.3`; nothing if it does not run."""
    try:
        said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError):
        return ""
    return " ".join(said.split()[:2])


def _pinned_uv() -> Path:
    program, installed_pin = _TOOLS / "bin" / "uv", _TOOLS / "uv.txt"
    pin = _UV_PIN.read_bytes()
    if program.exists() and installed_pin.exists() and installed_pin.read_bytes() == pin:
        return program
    shutil.rmtree(_TOOLS, ignore_errors=True)
    print("Fetching uv, the installer, into .tools ...", flush=True)
    if _has("pip"):
        # Into a folder: this works on systems whose own Python pip must not change.
        pip: _Command = [sys.executable, "-m", "pip", "install", "--no-user", "--target", _TOOLS]
    elif _has("ensurepip"):
        _run([sys.executable, "-m", "venv", _TOOLS])
        pip = [_TOOLS / "bin" / "python", "-m", "pip", "install"]
    else:
        raise RuntimeError(_NO_INSTALLER)
    _run([*pip, "--quiet", "--require-hashes", "--requirement", _UV_PIN], _pip_environment())
    installed_pin.write_bytes(pin)
    return program


def _resolve() -> None:
    """Resolve both lock files; the run-time one is constrained by the other, so that tests run what is delivered."""
    compile_: _Command = [
        _uv(), "pip", "compile", "--quiet", "--upgrade", "--generate-hashes", "--universal", "--python-version", "3.11",
        "--no-header", "--no-annotate", "--exclude-newer", _COOLING_OFF, "--group", "build", "pyproject.toml",
    ]  # fmt: skip
    # Without this machine's mirrors: a lock file must not depend on an index.
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    _run([*compile_, "--extra", "dev", "--output-file", _LOCKS["test"]], environment)
    _run([*compile_, "--constraints", _LOCKS["test"], "--output-file", _LOCKS["run"]], environment)


def _fetch_litellm(version: str) -> None:
    """Install another release of LiteLLM into a folder of its own, to compare it; it serves nothing."""
    folder = _TOOLS / f"litellm-{version}"
    if not folder.exists():
        wanted: _Command = ["--quiet", "--target", folder, f"litellm=={version}"]
        _run([_uv(), "pip", "install", "--python", _VENV / "bin" / "python", *wanted], _uv_environment())


def _venv_fits() -> bool:
    """Return whether `.venv` is complete and of the running Python version."""
    python = _VENV / "bin" / "python"
    if not python.exists():
        return False
    ask = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False).stdout.split()
    return answer == [str(part) for part in sys.version_info[:2]]


def _uv_environment() -> dict[str, str]:
    """Return the environment for uv, with the indexes of pip's configuration, which uv does not read."""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "1"}
    # Every file has a hash, so it does not matter which index serves it; pip merges its indexes, too.
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if not any(name in environment for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")):
        for option, value in _pip_configuration().items():
            separator = "," if option == "find-links" else " "
            environment.setdefault(_PIP_TO_UV[option], separator.join(value.split()))
    return environment


def _pip_configuration() -> dict[str, str]:
    if not _has("pip"):
        return {}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings = {}
    for line in sorted(listed.splitlines(), key=_strength):
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in _PIP_TO_UV and value:
            settings[option] = str(ast.literal_eval(value))
    return settings


def _strength(line: str) -> int:
    """Return the rank of the place that pip reads an option from; the highest wins."""
    return next((i for i, place in enumerate(("global.", "install.", ":env:.")) if line.startswith(place)), -1)


def _pip_environment() -> dict[str, str]:
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_INPUT": "1"}


def _has(module: str) -> bool:
    """Return whether a module can be imported; the empty folder of a removed package does not count."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


def _count(lock: str) -> int:
    return sum(line[:1].isalnum() for line in (_ROOT / lock).read_text().splitlines())


def _run(command: _Command, environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
