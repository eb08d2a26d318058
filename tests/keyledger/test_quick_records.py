"""The quick reader of records accepts and refuses exactly what the plain one does."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import record as plain
from domain.audit.record import spell
from domain.proofs.errors import ProofError
from keyledger import quick_records
from keyledger.evidence.history import Decode
from tests.domain.audit.test_record import RECORDS
from tests.support.audit_records import encode_record, story
from tests.support.each import each
from tests.support.mutations import mutated

LEAVES = st.sampled_from(story().leaves)


def outcome(decode: Decode, leaf: bytes) -> object:
    try:
        record = decode(leaf)
    except ProofError as error:
        return str(error)
    return record, [type(value) for value in record], spell(dict(record.details))


@given(RECORDS.map(encode_record) | mutated(LEAVES | RECORDS.map(encode_record)))
def test_generated_and_mutated_records_get_the_same_result(leaf):
    assert outcome(quick_records.decode_record, leaf) == outcome(plain.decode_record, leaf)


ODD = {
    "an escape": (b'"olga"', b'"ol\\u0067a"'),
    "a fraction in details": (b'"details":{}', b'"details":{"n":1.0}'),
    "a boolean in details": (b'"details":{}', b'"details":{"n":true}'),
    "details in another order": (b'"details":{}', b'"details":{"b":1,"a":2}'),
    "a member of the details twice": (b'"details":{}', b'"details":{"a":1,"a":1}'),
    "a member twice": (b'{"actor":"olga"', b'{"actor":"olga","actor":"olga"'),
    "white space": (b'"details":', b'"details": '),
    "a position that is a fraction": (b'"position":2', b'"position":2.0'),
    "a position of zero": (b'"position":2', b'"position":0'),
    "another spelling of a time": (b'+00:00","', b'Z","'),
    "an outcome that is not one": (b'"success"', b'"perhaps"'),
    "too many bytes": (b'"olga"', b'"' + b"x" * 70_000 + b'"'),
    "a stream in upper case": (b'"stream":"', b'"stream":"A'),
}


@each("old, new", ODD.values(), ODD)
def test_odd_records_get_the_same_result(old, new):
    changed = story().leaves[1].replace(old, new, 1)
    assert changed != story().leaves[1]
    assert outcome(quick_records.decode_record, changed) == outcome(plain.decode_record, changed)


def test_ordinary_records_take_the_quick_way(monkeypatch):
    def refuse(leaf: bytes) -> None:
        raise AssertionError(leaf)

    monkeypatch.setattr(quick_records, "decode_plainly", refuse)
    for leaf in story().leaves:
        if b'"seconds":1.5' not in leaf:
            quick_records.decode_record(leaf)


@pytest.mark.parametrize("module", ["keyledger.evidence", "scripts.commands.audit_verify"])
def test_a_plain_verification_loads_nothing_but_the_standard_library_and_cryptography(module):
    loads = f"import sys; sys.modules['msgspec'] = sys.modules['psycopg'] = None; import {module}"
    subprocess.run([sys.executable, "-c", loads], check=True)
