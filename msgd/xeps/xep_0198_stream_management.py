"""XEP-0198 Stream Management.

The declaration, and enabling it while binding: `msgd.routing.stream_management` counts, and it is offered
as a stream feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.routing.extension import Extension, Xep, on_bind

if TYPE_CHECKING:
    from msgd.routing.session import Session

NAMESPACE: Final = "urn:xmpp:sm:3"


class StreamManagement(Extension):
    """XEP-0198 Stream Management."""

    xep = Xep(198, "1.6.3")
    proves = "xep_0198/*"

    @on_bind(NAMESPACE, "enable")
    def enable_when_bound(self, session: Session, asked: Element) -> bytes:
        """§9.1."""
        return self.router.resumption.enable(session, dict(asked.attrib))
