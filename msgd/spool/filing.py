"""What a message is called in an archive, and whether it gets into one. Sources: XEP-0313 §3, XEP-0359."""

from __future__ import annotations

from typing import Final

from msgd.routing.archiving import Preference
from msgd.routing.kinds import archived
from msgd.spool.entry import Filing
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

STANZA_ID_NAMESPACE: Final = "urn:xmpp:sid:0"
#: XEP-0359: the id under which an account finds the message, live, kept and archived; to be filled with the
#: id and the account's address.
STANZA_ID: Final = b"<stanza-id xmlns='urn:xmpp:sid:0' id='%x' by='%b'/>"
RETRACT_NAMESPACE: Final = "urn:xmpp:message-retract:1"
_RETRACT: Final = f"{RETRACT_NAMESPACE} retract"


def filing_of(preference: Preference, stanza: Stanza, peer: JID | None, sent: bool) -> Filing | None:
    """How a message is filed that comes from `peer`, or was `sent` to it; None where it is not archived."""
    if peer is None or not archived(stanza) or not preference.wants(peer):
        return None
    # A tombstone has to name what took the message back (XEP-0424 §4): without an id it cannot.
    retracts = _retracted(stanza) if stanza.id and _RETRACT in stanza.children else ""
    return Filing(peer, sent, stanza.id or "", retracts)


def _retracted(stanza: Stanza) -> str:
    """The id of the message that `stanza` takes back (XEP-0424 §3)."""
    found = stanza.tree.find(f"{{{RETRACT_NAMESPACE}}}retract")
    return found.get("id", "") if found is not None else ""
