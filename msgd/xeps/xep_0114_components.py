"""XEP-0114 Jabber Component Protocol: service discovery lists the components that are connected.

The door is `msgd/components.py`, the handshake `msgd/negotiation/component.py`, the ways of stanzas
`msgd/routing/component.py`.
"""

from __future__ import annotations

from msgd.routing.extension import Extension, ListedItem, Xep


class Components(Extension):
    """XEP-0114 Jabber Component Protocol."""

    xep = Xep(114, "1.6")
    proves = "xep_0114/*"

    def items(self, domain: str) -> list[ListedItem]:
        """A component below a domain of ours belongs to that one, any other to all."""
        return [
            ListedItem(component.jid, name=component.name)
            for component in self.router.components.values()
            if component.stream is not None and self._belongs(component.jid, domain)
        ]

    def _belongs(self, jid: str, domain: str) -> bool:
        above = [each for each in self.router.table.domains if jid.endswith(f".{each}")]
        return not above or domain == max(above, key=len)
