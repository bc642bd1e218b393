"""XEP-0202 Entity Time: the server's clock, in UTC (XEP-0082 profiles)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element

from msgd.routing.extension import HOST, Extension, Xep, on_iq
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element

NAMESPACE: Final = "urn:xmpp:time"


class EntityTime(Extension):
    """XEP-0202 Entity Time."""

    xep = Xep(202, "2.0")
    features = frozenset({NAMESPACE})
    proves = "xep_0202/*"

    @on_iq("get", NAMESPACE, "time", at=(HOST,))
    async def tell_time(self, stanza: Stanza) -> Element:
        """§2; the offset is always zero: where the machine stands is nobody's business (§6)."""
        now = datetime.fromtimestamp(self.router.clock.seconds(), UTC)
        return element(
            NAMESPACE,
            "time",
            None,
            element(NAMESPACE, "tzo", None, "+00:00"),
            element(NAMESPACE, "utc", None, now.strftime("%Y-%m-%dT%H:%M:%SZ")),
        )
