"""XEP-0388 Extensible SASL Profile.

The login itself is the business of `msgd.negotiation`, the devices that log in that of
`msgd.accounts.devices`. Here it is noted when the last session of a device ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgd.routing.extension import Extension, Xep, device_of, on_event

if TYPE_CHECKING:
    from msgd.routing.session import Session


class Sasl2(Extension):
    """XEP-0388 Extensible SASL Profile."""

    xep = Xep(388, "1.0.4")
    proves = "xep_0388/*"

    @on_event("session-ended")
    def _left(self, session: Session) -> None:
        device = device_of(session)
        if device:
            self.accounts.devices.left(session.account.id, device)
