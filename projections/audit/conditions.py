"""An audit filter in SQL: which rows of the trail can be entries that match.

Promises: every entry that matches is among the rows. For members that are sealed there may be more rows, which the
search opens and decides: a row is left out only if none of its members, opened or in clear, can contain a word that was
asked for. Texts are compared in lower case, and rows with other letters than ASCII's are always among the rows, because
the database and the program make those lower in different ways.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.audit.client_network import may_be_in_address
from domain.audit.entries import OF_A_CREDENTIAL, AuditFilter
from domain.audit.request_events import Outcome

_FINGERPRINT_PART = re.compile("[0-9a-f]{1,17}")
# One text with every member; OFFSET keeps the planner from computing it once for each word.
SOURCE = """
audit_trail CROSS JOIN LATERAL (SELECT lower(concat_ws(
    ' ', action, actor, role, source, client_address, reason, request_id, command_id, causation_id, tenant_id, provider,
    masked_key, key_id, fingerprint, details::text) COLLATE "C") AS members OFFSET 0) AS joined
"""
"""What a search for texts reads from: the trail, and in `members` all that a row says."""
# The database writes a fraction in its own way.
_HIDDEN = "details::text ~ '(personal:v1:|[0-9][.eE])' OR octet_length(members) <> char_length(members)"


class Conditions(NamedTuple):
    """Conditions, of which all must hold, and the values for their placeholders."""

    tests: Sequence[str]
    values: Sequence[object]


def conditions(wanted: AuditFilter, person: str | None, names: Mapping[str, str]) -> Conditions:
    """Return the conditions of a filter, without those of its texts where it has none.

    person: the token of the actor asked for. names: known names of people by their tokens.
    """
    stated = [(test, value) for test, value in _of_columns(wanted) if value is not None]
    asked, values = [test for test, _ in stated], [value for _, value in stated]
    if wanted.actor is not None:
        asked.append("(person = %s OR (person IS NULL AND actor = %s))")
        values += [person, wanted.actor]
    if wanted.fingerprint is not None:
        asked.append("fingerprint IS NOT NULL")
    if wanted.reason is not None:
        asked.append("reason IS NOT NULL")
    if wanted.outcome is not None and wanted.outcome is not Outcome.SUCCESS:
        asked.append("outcome <> 'success'")  # in the words of the index: a plan is made before the value is known
    for word in words_of(wanted):
        asked.append(_contains(word))
        values += [word, [token for token, name in names.items() if word not in name.lower()]]
    return Conditions(asked, values)


def words_of(wanted: AuditFilter) -> Sequence[str]:
    """Return the words that the database can look for: those of ASCII letters, each of which is within one member."""
    return [word for text in wanted.texts for word in text.lower().split() if word.isascii()]


def _of_columns(wanted: AuditFilter) -> Sequence[tuple[str, object]]:
    return (
        ("position > %s", wanted.after),
        ("position < %s", wanted.before),
        ("tenant_id = %s", wanted.tenant_id),
        ("provider = %s", wanted.provider),
        ("action = %s", wanted.action),
        ("action = ANY (%s)", list(OF_A_CREDENTIAL) if wanted.of_credential else None),
        ("outcome = %s", wanted.outcome),
        ("key_id = %s", wanted.key_id),
        ("recorded_at >= %s", wanted.since),
        ("recorded_at < %s", wanted.until),
    )


def _contains(word: str) -> str:
    """Return the condition that a word is in a member, or can be in a sealed one."""
    sealed = ["reason IS NOT NULL", "(person IS NOT NULL AND person <> ALL (%s))", _HIDDEN]
    if may_be_in_address(word):
        sealed.append("client_address IS NOT NULL")
    if _FINGERPRINT_PART.fullmatch(word):
        sealed.append("fingerprint IS NOT NULL")
    return f"(strpos(members, %s) > 0 OR {' OR '.join(sealed)})"
