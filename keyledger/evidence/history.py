"""Checks whether a correctly working log could have written a sequence of records.

Checked for every record     canonical form; positions without a gap; versions of each stream from 1 without a gap
  of a credential            in the stream of its own tenant and provider; set first; re-encrypted and deleted only
                             while it exists; after its deletion only set
  of the encryption keys     introduced once, then retired once; a rotation starts towards a key in use, and ends
                             once
Noted, but not an error      time that goes back (clocks of several machines), types that are not interpreted

Promises: the same records always get the same verdict; about 150 bytes of memory for each stream.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache

from domain.audit.record import AuditRecord, decode_record
from domain.audit.request_events import Outcome
from domain.credentials.credential import CredentialDeleted, CredentialReencrypted, CredentialSet, stream_id
from domain.operations.encryption_keys import (
    KEYRING_STREAM,
    EncryptionKeyIntroduced,
    EncryptionKeyRetired,
    KeyRotationCompleted,
    KeyRotationStarted,
)
from domain.proofs.errors import ProofError
from keyledger.evidence.errors import EvidenceError

CLOCK_TOLERANCE = timedelta(seconds=5)

_CREDENTIAL = frozenset(event.TOPIC for event in (CredentialSet, CredentialDeleted, CredentialReencrypted))
_KEYRING = frozenset(
    event.TOPIC for event in (EncryptionKeyIntroduced, EncryptionKeyRetired, KeyRotationStarted, KeyRotationCompleted)
)
Decode = Callable[[bytes], AuditRecord]
_stream_of = lru_cache(1 << 16)(stream_id)


class History:
    """Takes the records of a log, or of one tenant, in order. The first impossible one raises EvidenceError."""

    def __init__(self, *, whole: bool, tolerance: timedelta = CLOCK_TOLERANCE, decode: Decode = decode_record) -> None:
        """whole: every record of the log will be given. tolerance: how far time may go back before it is noted.

        decode: returns the record in a leaf, with the results of `domain.audit.record.decode_record`.
        """
        self._whole = whole
        self._decode = decode
        self._tolerance = tolerance
        # By stream: twice its version, plus one if it is a live credential. Plain numbers, because there are many.
        self._streams = dict[int, int]()
        self._keys = set[str]()
        self._rotations = dict[str, bool]()
        self._latest: datetime | None = None
        self.position = 0
        self.types = Counter[str]()
        self.steps_back = 0
        self.largest_step = timedelta()
        self.first_step: int | None = None

    @property
    def streams(self) -> int:
        """The number of streams seen."""
        return len(self._streams)

    @property
    def not_interpreted(self) -> dict[str, int]:
        """The number of records of each type that was not interpreted."""
        return {kind: count for kind, count in self.types.items() if kind not in _CREDENTIAL | _KEYRING}

    def tell_leaf(self, position: int, leaf: bytes) -> AuditRecord:
        """Check the leaf at `position` and return its record. Raises EvidenceError."""
        try:
            record = self._decode(leaf)
        except ProofError as error:
            raise EvidenceError(f"it is not an audit record ({error}).", position) from None
        if record.position != position:
            raise EvidenceError(
                f"its content says that it is record {record.position}: a record was removed, inserted or moved.",
                position,
            )
        self.tell(record)
        return record

    def tell(self, record: AuditRecord) -> None:
        """Check the next record. Raises EvidenceError."""
        if self._whole and record.position != self.position + 1:
            raise EvidenceError(f"it follows record {self.position}: records are missing.", record.position)
        self.position = record.position
        self._time(record)
        live = self._version(record)
        if record.type in _CREDENTIAL:
            live = _credential(record, live)
        elif record.type in _KEYRING:
            self._keyring(record)
        self._streams[record.stream.int] = record.version * 2 + live
        self.types[record.type] += 1

    def _time(self, record: AuditRecord) -> None:
        if self._latest is None or record.time >= self._latest:
            self._latest = record.time
            return
        step = self._latest - record.time
        if step > self._tolerance:
            self.steps_back += 1
            self.largest_step = max(self.largest_step, step)
            self.first_step = self.first_step or record.position

    def _version(self, record: AuditRecord) -> bool:
        """Check that the record is the next of its stream; return whether the stream is a live credential."""
        known = self._streams.get(record.stream.int, 0)
        version, live = known >> 1, bool(known & 1)
        # A tenant's bundle has whole streams of its own credentials, but only its own records of shared streams.
        gapless = self._whole or _own_stream(record)
        if record.version == version + 1 or (not gapless and record.version > version):
            return live
        before = f"the one before it has version {version}" if version else "it is the first one"
        what = "a record of the stream is missing" if record.version > version else "the stream has two histories"
        raise EvidenceError(
            f"it has version {record.version} of stream {record.stream}, but {before}: {what}.", record.position
        )

    def _keyring(self, record: AuditRecord) -> None:
        key_id, rotation = record.key_id, record.details.get("rotation_id")
        if record.stream != KEYRING_STREAM:
            raise EvidenceError("it is about an encryption key, but is not in the stream of the keys.", record.position)
        _require_success(record)
        error = None
        if key_id is None:
            error = "it does not name its encryption key"
        elif record.type == EncryptionKeyIntroduced.TOPIC:
            error = f"key {key_id} is introduced again, without having been retired" if key_id in self._keys else None
            self._keys.add(key_id)
        elif record.type == EncryptionKeyRetired.TOPIC:
            error = f"key {key_id} is retired, but is not in use" if key_id not in self._keys else None
            self._keys.discard(key_id)
        elif not isinstance(rotation, str):
            error = "it does not name its rotation"
        elif record.type == KeyRotationStarted.TOPIC:
            if key_id not in self._keys:
                error = f"a rotation starts towards key {key_id}, which is not in use"
            elif rotation in self._rotations:
                error = "the same rotation starts twice"
            self._rotations[rotation] = False
        else:
            if self._rotations.get(rotation) is not False:
                error = "a rotation ends that is not running"
            self._rotations[rotation] = True
        if error:
            raise EvidenceError(f"{error}.", record.position)


def _own_stream(record: AuditRecord) -> bool:
    """Return whether the record is in the stream of the credential that it names."""
    named = record.tenant_id is not None and record.provider is not None
    return named and record.stream == _stream_of(record.tenant_id, record.provider)


def _credential(record: AuditRecord, live: bool) -> bool:
    """Check a step in the life of a credential; return whether it is live afterwards."""
    if record.tenant_id is None or record.provider is None:
        raise EvidenceError("it is about a credential, but does not name the tenant and the provider.", record.position)
    if not _own_stream(record):
        raise EvidenceError(
            "it is about a credential, but is in the stream of another: its tenant, provider or stream was changed.",
            record.position,
        )
    _require_success(record)
    if record.type == CredentialSet.TOPIC:
        return True
    if not live:
        done = "deleted" if record.type == CredentialDeleted.TOPIC else "re-encrypted"
        raise EvidenceError(f"a credential is {done} that does not exist.", record.position)
    return record.type == CredentialReencrypted.TOPIC


def _require_success(record: AuditRecord) -> None:
    if record.outcome is not Outcome.SUCCESS:
        raise EvidenceError(f"a change of type {record.type} has the outcome {record.outcome}.", record.position)
