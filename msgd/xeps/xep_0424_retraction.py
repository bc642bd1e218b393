"""XEP-0424 Message Retraction: what is left in archives of messages that their authors took back.

The declaration alone: `msgd.routing.kinds` has retractions kept and archived, and
`msgd.spool.archive_store` puts a tombstone in the place of the message.
"""

from msgd.routing.extension import Extension, Xep
from msgd.spool.filing import RETRACT_NAMESPACE


class MessageRetraction(Extension):
    """XEP-0424 Message Retraction."""

    xep = Xep(424, "0.4.2")
    features = frozenset({RETRACT_NAMESPACE})
    account_features = frozenset({RETRACT_NAMESPACE, f"{RETRACT_NAMESPACE}#tombstone"})
    proves = "xep_0424/*"
