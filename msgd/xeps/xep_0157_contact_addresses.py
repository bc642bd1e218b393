"""XEP-0157 Contact Addresses: whom to write to about this service, in the domain's disco#info.

The operator fills in the `contact` options; without them nothing is told.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgd.routing.extension import Extension, Xep
from msgd.xeps.data_forms import result_form

FORM: Final = "http://jabber.org/network/serverinfo"
#: The roles that the XEP registers (§6.1); each is an option of the section `contact`.
ROLES: Final = ("abuse", "admin", "feedback", "sales", "security", "status", "support")


class ContactAddresses(Extension):
    """XEP-0157 Contact Addresses for XMPP Services."""

    xep = Xep(157, "1.1.1")
    proves = "xep_0157/*"

    def forms(self, domain: str) -> list[Element]:
        """§3: one field for each role that has addresses."""
        contact = self.config.contact
        fields = {f"{role}-addresses": list(getattr(contact, role)) for role in ROLES}
        told = {var: values for var, values in fields.items() if values}
        return [result_form(FORM, told)] if told else []
