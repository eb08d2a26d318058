"""The definition of an event type: everything known about it besides its members.

An event class has its definition as `DEFINITION` and its members as fields. Everything else is computed from the two:
the stored form (`domain.event_codec`), actions and audit entries (`domain.audit`), exports in every format, the
timeline of `keyledger history`, and the catalogue `docs/events.md`.
A *form* of events is a number that a release raises when it adds an event type or changes the members of one. Nodes of
several releases write the newest form that all of them read (`keyledger.log.event_forms`).
Numbers and names of OCSF are those of https://schema.ocsf.io/1.8.0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

Members = dict[str, object]
FIRST_FORM = 1
"""The form of events of the first release."""


@dataclass(frozen=True, slots=True)
class MembersChange:
    """A change to the stored members of a released event type, from one class version to the next.

    form: the form of events with this change; a later one than those of the changes before it.
    upcast: makes the later members of earlier ones, so that every released event stays readable.
    downcast: makes the earlier members of later ones, for nodes that cannot read the later ones yet. `upcast` of the
    result has to be a right event, though without what the earlier members cannot say.
    """

    form: int
    upcast: Callable[[Members], Members]
    downcast: Callable[[Members], Members]


class Subject(Enum):
    """The kind of thing that an event is about."""

    CREDENTIAL = "credential"
    ENCRYPTION_KEY = "encryption key"
    PROJECTION = "projection"
    LOG = "log"
    POLICY = "policy"
    REQUEST = "request"
    AUDIT = "audit"
    PERSON = "person"
    ACCESS_KEY = "access key"
    TENANT = "tenant"
    SESSION = "session"
    PROPOSAL = "proposal"


class OcsfClass(NamedTuple):
    """An event class of OCSF."""

    uid: int
    name: str


class OcsfActivity(NamedTuple):
    """An activity of an OCSF class. `OTHER` with a name of its own where OCSF has none that fits."""

    uid: int
    name: str


OTHER = 99
AUTHENTICATION = OcsfClass(3002, "Authentication")
ENTITY_MANAGEMENT = OcsfClass(3004, "Entity Management")
API_ACTIVITY = OcsfClass(6003, "API Activity")
CREATE, READ = OcsfActivity(1, "Create"), OcsfActivity(2, "Read")
UPDATE, DELETE = OcsfActivity(3, "Update"), OcsfActivity(4, "Delete")
LOGON, LOGOFF, DEACTIVATE = OcsfActivity(1, "Logon"), OcsfActivity(2, "Logoff"), OcsfActivity(11, "Deactivate")


@dataclass(frozen=True, slots=True)
class ActionDefinition:
    """One action that the audit shows.

    name: in entries, exports and searches; never changes. written: completes "It is written when ..." in the catalogue.
    activity: in OCSF; None for that of the request's HTTP method. timeline: the words of `keyledger history`; None for
    the name.
    """

    name: str
    written: str
    activity: OcsfActivity | None
    timeline: str | None = None


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """Everything about an event type besides its members.

    action: what the event did. action_again: what it did where its stream already held something.
    removes: what the stream held is gone after the event. failed: the event reports a failure.
    of_person, of_tenant: members that are personal, besides those of every event: about the caller, and about the
    tenant. sealed: members that hold something sealed, unseen: digests; readers do not see either.
    form: the form of events with which the event type was added.
    changes: the first one is from class version 1 to 2, the next one from 2 to 3, and so on.
    """

    subject: Subject
    action: ActionDefinition
    action_again: ActionDefinition | None = None
    removes: bool = False
    failed: bool = False
    of_person: tuple[str, ...] = ()
    of_tenant: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    ocsf_class: OcsfClass = ENTITY_MANAGEMENT
    form: int = FIRST_FORM
    changes: tuple[MembersChange, ...] = ()

    @property
    def actions(self) -> tuple[ActionDefinition, ...]:
        """Every action that an event of this type can be."""
        return (self.action,) if self.action_again is None else (self.action, self.action_again)

    @property
    def class_version(self) -> int:
        """The version of the members as they are stored today."""
        return len(self.changes) + 1

    @property
    def newest_form(self) -> int:
        """The form of events with which the present members came."""
        return self.changes[-1].form if self.changes else self.form
