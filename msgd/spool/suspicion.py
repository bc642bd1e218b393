"""Whether one message is why another server ends its streams: else that one would block all others.

A server that does not like a stanza ends the stream over it (RFC 6120 §4.9): one that is too large for it, or
has an address that it does not take for one. Behind such an end the messages that were under way go one at a
time, each when the one before has arrived; the one on which the stream ends again and again goes back.
"""

from __future__ import annotations

from typing import Final

from msgd.spool.link_entry import LinkEntry

#: How often a stream ends so over the same message until that goes back. The first ones say that something
#: sent is wrong; a server says the others when something is wrong with itself, too, and that may pass.
_TIMES: Final = {
    "bad-format": 3,
    "bad-namespace-prefix": 3,
    "host-unknown": 3,
    "improper-addressing": 3,
    "invalid-from": 3,
    "invalid-namespace": 3,
    "invalid-xml": 3,
    "not-well-formed": 3,
    "policy-violation": 3,
    "restricted-xml": 3,
    "unsupported-encoding": 3,
    "unsupported-feature": 3,
    "unsupported-stanza-type": 3,
    "internal-server-error": 8,
    "undefined-condition": 8,
}


class Suspicion:
    """That of one outbox."""

    def __init__(self) -> None:
        #: Messages up to this id go one at a time; 0: there is no suspicion.
        self.upto = 0
        self._suspect = 0
        self._times = 0

    def ended(self, condition: str, under_way: list[LinkEntry]) -> LinkEntry | None:
        """The other server ended a stream with this error; the message that is to go back, if any."""
        enough = _TIMES.get(condition)
        if enough is None or not under_way:
            return None
        self.upto = max(self.upto, under_way[-1].id)
        if len(under_way) > 1:
            return None
        (only,) = under_way
        self._times = self._times + 1 if only.id == self._suspect else 1
        self._suspect = only.id
        return only if self._times >= enough else None

    def allows(self, entry: LinkEntry | None, under_way: bool) -> bool:
        """Whether `entry`, the next one, may be sent; `under_way` tells that others are."""
        if entry is not None and entry.id <= self.upto:
            return not under_way
        if not under_way:
            self.upto = 0  # all of them have arrived, or gone back
        return not under_way
