"""XEP-0388 Extensible SASL Profile.

The login itself is the business of `msgd.negotiation`, the devices that log in that of
`msgd.accounts.devices`. Here it is noted when sessions of devices end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgd.routing.extension import Extension, Xep, device_of, on_event

if TYPE_CHECKING:
    from msgd.routing.session import Session

#: Seconds for which it is gathered who has left: one transaction for all of them.
_GATHER: Final = 10.0


class Sasl2(Extension):
    """XEP-0388 Extensible SASL Profile."""

    xep = Xep(388, "1.0.4")
    proves = "xep_0388/*"

    _timer: Any = None  # while somebody has left and it is not written

    def stop(self) -> None:
        """Write down who has left."""
        if self._timer is not None:
            self._timer.cancel()
            self._write()

    @on_event("session-ended")
    def _left(self, session: Session) -> None:
        device = device_of(session)
        if device:
            self.accounts.devices.left(session.account.id, device)
            if self._timer is None:
                self._timer = self.router.clock.callLater(_GATHER, self._write)

    def _write(self) -> None:
        self._timer = None
        self.accounts.devices.write_seen()
