"""The secrets of the environment: the settings read them, nothing else does."""

import copy
import pickle
import re
import subprocess
import sys

import pytest

from keyledger.settings.settings import load
from keyledger.settings.start_environment import StartEnvironment
from tests.support.each import each
from tests.support.places import REPOSITORY
from tests.support.service import environment

SECRETS = (
    *("ENCRYPTION_KEY", "ENCRYPTION_KEY_NEXT", "ENCRYPTION_KEY_PREVIOUS", "AUDIT_SIGNING_KEY"),
    *("SUPER_API_KEY", "INTRIC_SUPER_API_KEY", "ENEO_SUPER_API_KEY", "KEYLEDGER_API_KEY"),
    *("DATABASE_URL", "DATABASE_ADMIN_URL"),
    *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_API_KEY", "MISTRAL_API_KEY", "VLLM_API_KEY", "OF_MY_OWN_API_KEY"),
)


@each("name", SECRETS)
def test_a_secret_is_taken_from_the_environment_and_still_read_from_the_start(name):
    environ = {name: "canary-of-a-secret", "PATH": "/bin"}
    start = StartEnvironment(environ)
    start.take()
    assert environ == {"PATH": "/bin"}
    assert dict(start) == {name: "canary-of-a-secret", "PATH": "/bin"}
    assert len(start) == 2


def test_settings_are_read_after_the_secrets_were_taken_and_show_none():
    environ = environment(OPENAI_API_KEY="sk-global-first-0123")
    start = StartEnvironment(environ)
    start.take()
    environ.clear()
    environ["TENANT_CREDENTIALS_ENABLED"] = "true"
    assert load(start, None).policy.global_credentials["openai"].secret.reveal() == "sk-global-first-0123"
    assert "sk-global" not in repr(start) + str(start) + repr(vars(start))


def test_a_variable_that_is_set_again_has_its_new_value():
    environ = {"DATABASE_URL": "postgresql:///old"}
    start = StartEnvironment(environ)
    start.take()
    environ["DATABASE_URL"] = "postgresql:///new"
    assert start["DATABASE_URL"] == "postgresql:///new"
    assert list(start) == ["DATABASE_URL"]


def test_other_variables_are_taken_by_their_names():
    environ = {"HTTPS_PROXY": "http://proxy", "HTTPS": "on"}
    start = StartEnvironment(environ)
    start.take(re.compile(".*_PROXY"))
    assert environ == {"HTTPS": "on"}
    assert start["HTTPS_PROXY"] == "http://proxy"


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_pickled_or_copied(copied):
    with pytest.raises(TypeError, match="secrets"):
        copied(StartEnvironment({"ENCRYPTION_KEY": "canary"}))


PROGRAM = """
import os, subprocess, sys
from keyledger.settings.start_environment import OF_THIS_PROCESS
OF_THIS_PROCESS.take()
assert OF_THIS_PROCESS["ENCRYPTION_KEY"] == "canary-1" and OF_THIS_PROCESS["A_API_KEY"] == ""
assert OF_THIS_PROCESS["\\u00e9_API_KEY"] == "canary-\\u00e9"
sys.stdout.buffer.write(open("/proc/self/environ", "rb").read())
sys.stdout.buffer.write(b"".join(subprocess.check_output(["/usr/bin/env", "-0"]) for _ in "1"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the process files of Linux")
def test_a_process_that_took_its_secrets_shows_none_in_proc_and_hands_none_down():
    given = {
        "ENCRYPTION_KEY": "canary-1",
        "DATABASE_URL": "postgresql://canary@h",
        "A_API_KEY": "",
        "PATH": "/bin",
        "\u00e9_API_KEY": "canary-\u00e9",
        "HARMLESS": "still there",
        "PYTHONPATH": str(REPOSITORY),
    }
    shown = subprocess.run([sys.executable, "-c", PROGRAM], env=given, capture_output=True, check=False)
    assert shown.returncode == 0, shown.stderr.decode()
    assert b"canary" not in shown.stdout
    assert shown.stdout.count(b"HARMLESS=still there\0") == 2
