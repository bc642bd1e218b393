"""XEP-0398 User Avatar to vCard-Based Avatars Conversion: one avatar, whichever way it came.

The declaration: it is kept in the nodes of XEP-0084, a vCard gets it when it is asked for by somebody who may
see it (`msgd/xeps/profile/`), and presence gets its hash (`xep_0153_vcard_avatars.py`).
"""

from msgd.routing.extension import Extension, Xep


class AvatarConversion(Extension):
    """XEP-0398 User Avatar to vCard-Based Avatars Conversion."""

    xep = Xep(398, "1.0.0")
    account_features = frozenset({"urn:xmpp:pep-vcard-conversion:0"})
    proves = "xep_0398/*"
