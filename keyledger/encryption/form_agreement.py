"""Ensures that an event is written in a new form only once every running node reads that form.

Promises: looking at the nodes and recording the form are one step, under the lock of the nodes. A node that starts
registers first and looks at the recorded form afterwards (`keyledger.assembly.compose`), so it is either seen here, or
sees the form and ends with the sentence that names the release to run. Rows with a wrong code delay nothing.
"""

from keyledger.encryption.keyring import Keyring
from keyledger.encryption.node_codes import Standing
from keyledger.encryption.node_release import form_of, own_release
from keyledger.encryption.nodes import Presence
from keyledger.log.event_forms import EventForms


def agree_on_form(presence: Presence, keyring: Keyring | None, forms: EventForms) -> None:
    """Write the newest form of events that every running node reads. Does nothing where it is written already.

    Raises StoreUnavailableError.
    """
    if forms.written == forms.reads:
        return
    with presence.alone_with(keyring) as (connection, others):
        read = [form_of(node.version) for node in others if node.standing is not Standing.FORGED]
        form = forms.raise_to(connection, min([forms.reads, *read]), own_release(forms.reads))
    forms.write(form)
