"""A link: one stream to or from another server, from its negotiation to its end.

Takes stanzas from the domains that it authenticated, and gives them to the router; sends what waits for the
pairs of domains for which it was accepted (one way, or both: XEP-0288). Stream management (XEP-0198) is
`link_management.py`. Sources: RFC 6120 §4.4, §4.5, §8.1.1.2, §8.1.2.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from twisted.logger import Logger

from msgd.negotiation.dialback import Dialback
from msgd.routing.link_management import LinkManagement
from msgd.routing.link_proof import Proof
from msgd.routing.link_stanza import accepted
from msgd.routing.stream_management import Kept, Receipt, Sent
from msgd.wire.border import DIALBACK_NAMESPACE, to_server
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID
from msgd.wire.link_connection import LinkConnection
from msgd.wire.remote_error import remote_error
from msgd.wire.stanza import STANZAS, Stanza
from msgd.wire.xml import STREAM_NAMESPACE, escape
from msgd.wire.xmlstream import Header, LinkStream

_log = Logger("msgd.link")
_SM: Final = "urn:xmpp:sm:3 "
_END: Final = b"</stream:stream>"
#: Bytes waiting for the socket from which on no more messages are taken out of the queue for it.
CONGESTED: Final = 65536
#: The same for a link that is given up: what nobody keeps was written into it.
_STUCK: Final = 4 * 1024 * 1024
#: Seconds for which one that ends is waited for.
_RETIRING: Final = 10.0
#: Domains, and pairs of them, on one stream.
MOST_DOMAINS: Final = 50


class Owner(Protocol):
    """What a link needs of what is around it (`msgd/links.py`)."""

    clock: Any

    def arrived(self, stanza: Stanza, receipt: Receipt | None) -> None:
        """A stanza that the link vouches for."""

    def is_ours(self, domain: str) -> bool:
        """Whether this server takes stanzas for `domain`."""

    def authorized(self, link: Link, theirs: JID, ours: JID) -> None:
        """One more pair of domains. Raises StreamError where that is not allowed any more."""

    def acknowledged(self, sent: Iterable[Sent]) -> None:
        """The peer has these."""

    def unproven(self, link: Link, kept: Kept) -> None:
        """A message was sent of which the link cannot tell whether it arrived but by looking."""

    def pinged(self, id: str, theirs: JID, proof: Proof) -> None:
        """A ping goes to `theirs`: when its answer comes, `proof` is told."""

    def undelivered(self, raw: bytes) -> None:
        """A stanza that nobody keeps never arrived."""

    def has_room(self, link: Link) -> None:
        """The link can take more again."""

    def resume(self, link: Link, id: str, handled: int) -> LinkManagement | None:
        """The state of the link of that id, which broke; this one takes over."""

    def ended(self, link: Link) -> None:
        """The link is over; `link.management` may be resumed."""


class Link:
    """One stream between two servers. `incoming` tells that the peer opened it."""

    def __init__(
        self,
        owner: Owner,
        transport: LinkConnection,
        stream: LinkStream,
        pair: tuple[JID, JID],
        dialback: Dialback,
        *,
        incoming: bool,
        both_ways: bool,
        proof: str,
        lang: str | None,
        largest: int,
    ) -> None:
        """`pair` (ours, theirs) is the one with which the stream began; `dialback` is how more come to it;
        `lang` is that of the peer's stream; `largest` the size of a stanza that it takes; 0: unknown.
        """
        self.owner = owner
        self.transport = transport
        self.stream = stream
        self.incoming = incoming
        self.both_ways = both_ways
        self.pair = pair
        #: Domains of ours that were named in the proofs, for the operator.
        self.ours: set[JID] = {pair[0]}
        #: How the identities were proved: "EXTERNAL" or "dialback".
        self.proof = proof
        self.largest = largest
        self.since: float = owner.clock.seconds()
        #: When stanzas were last seen to have gone either way, and how many those were; see `look`.
        self.last_used = self.since
        self._seen = 0
        #: Domains from which stanzas are taken, and pairs (ours, theirs) for which they are sent.
        self.domains: set[str] = set()
        self.pairs: set[tuple[JID, JID]] = set()
        self.management: LinkManagement | None = None
        #: Kept messages sent without stream management, that may not have arrived.
        self.proof_of_arrival = Proof(self)
        self.dialback = dialback
        #: The address and port to which it was connected; None where the peer did that.
        self.endpoint: tuple[str, int] | None = None
        #: When the peer's certificate does, in seconds since 1970.
        self.expires = float("inf")
        #: Nothing more is sent, since when: it ends as soon as nothing is owed.
        self.closing = False
        self.closing_since = 0.0
        #: Stanzas may be written to it now.
        self.sends = True
        #: It is over, and it ended without a word.
        self.ended = self.broke = False
        #: The stream error with which the peer ended it: the condition, and what it says; empty: none.
        self.refusal = self.refused = ""
        self.received = self.sent = 0
        self._lang = f" xml:lang='{escape(lang)}'".encode() if lang else b""

    def attach(self) -> None:
        """Listen to the stream from now on."""
        self.stream.listener = self

    def authorize(self, theirs: JID, ours: JID) -> None:
        """One more pair of domains was proved: the peer may send."""
        try:
            if len(self.domains) >= MOST_DOMAINS and theirs not in self.domains:
                raise StreamError("policy-violation", "too many domains on one stream")
            self.domains.add(theirs)
            self.ours.add(ours)
            if self.both_ways:
                self.pairs.add((ours, theirs))
            self.owner.authorized(self, theirs, ours)
        except StreamError as error:
            self.fail(error)

    def accepted(self, ours: JID, theirs: JID) -> None:
        """The peer, which is the server of `theirs` too, takes what `ours` sends."""
        self.pairs.add((ours, theirs))
        self.ours.add(ours)
        if self.both_ways:
            # XEP-0288 §2.2: then the inverse of the pair is good for it.
            self.domains.add(theirs)

    @property
    def theirs(self) -> set[str]:
        """The domains that its peer is the server of."""
        return {*self.domains, *(theirs for _, theirs in self.pairs)}

    def look(self, now: float) -> None:
        """Called now and then: whether it was used since. To note each time costs more than it tells."""
        if self.received + self.sent != self._seen:
            self._seen = self.received + self.sent
            self.last_used = now

    @property
    def owes(self) -> bool:
        """Something was sent of which is not known whether it arrived: closed now, it would be sent again."""
        return bool(self.proof_of_arrival) or (
            self.management is not None and self.management.state.queue is not None
        )

    def congested(self) -> bool:
        """No more kept messages should be written to it now."""
        if (self.management or self.proof_of_arrival).full():
            return True
        return self.transport.buffered > CONGESTED

    # -- from the peer -------------------------------------------------------------------------

    def stream_opened(self, header: Header) -> None:
        """A second stream header."""
        self.fail(StreamError("bad-format", "the stream was open already"))

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """One element of the stream."""
        kind = STANZAS.get(name)
        try:
            if kind is None:
                self._other_element(name, attributes, raw)
                return
            stanza = accepted(kind, attributes, children, raw, self.domains, self.owner.is_ours, self._lang)
        except StreamError as error:
            self.fail(error)
            return
        self.received += 1
        management = self.management
        if management is None:
            self.owner.arrived(stanza, None)
            return
        receipt = Receipt() if kind == "message" else None
        self.owner.arrived(stanza, receipt)
        management.state.count(receipt)

    def _other_element(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        if name.startswith(_SM):
            self._stream_management(name[len(_SM) :], attributes)
        elif name.startswith(DIALBACK_NAMESPACE):
            self.dialback.take(name.rpartition(" ")[2], attributes, raw)
            self._check_stuck()
        elif name == f"{STREAM_NAMESPACE} error":
            self.refusal, self.refused = remote_error(raw)
            _log.info("a link ends, says the other server: {condition}", condition=self.refusal)
            self.close()
        elif name == "urn:xmpp:bidi bidi" and self.incoming:
            pass  # behind the proof it comes too late
        else:
            raise StreamError("unsupported-stanza-type", "this element means nothing here")

    def _stream_management(self, local: str, attributes: dict[str, str]) -> None:
        management = self.management
        if management is not None:
            management.element(local, attributes)
        elif local == "enable" and self.incoming:
            self.management = LinkManagement(self)
            self.management.enable(attributes)
        elif local == "resume" and self.incoming:
            LinkManagement.resume(self, attributes)
        else:
            raise StreamError("unsupported-stanza-type", "this element means nothing here")

    # -- to the peer ---------------------------------------------------------------------------

    def takes(self, raw: bytes) -> bool:
        """Whether a stanza is not too large for the peer (XEP-0478 §4); `raw` as for a client."""
        return not self.largest or len(raw) < self.largest // 2 or len(to_server(raw)) <= self.largest

    def send(self, raw: bytes) -> None:
        """Send a stanza that nobody keeps; `raw` as for a client."""
        self._write(raw, raw)
        self._check_stuck()

    def _check_stuck(self) -> None:
        if self.transport.buffered > _STUCK or (self.management is not None and self.management.stuck):
            self.fail(StreamError("resource-constraint", "nothing is read"))

    def send_kept(self, kept: Kept) -> None:
        """Send a message that the queue keeps until the peer has it."""
        if self.management is None:
            self.proof_of_arrival.add(kept)
            self.owner.unproven(self, kept)
        self._write(kept, kept.raw)

    def _write(self, sent: Sent, raw: bytes) -> None:
        self.sent += 1
        management = self.management
        if management is None:
            self.transport.write(to_server(raw))
            return
        management.state.push(sent)
        self.transport.write(to_server(raw))
        if self.sent >= management.ask_at:
            management.ask()

    def send_ping(self, id: str) -> None:
        """Ask for a sign that the peer has taken what was sent (XEP-0199 §4.2); see `Proof`."""
        for ours, theirs in self.pairs:
            if self.owner.is_ours(ours):
                self.owner.pinged(id, theirs, self.proof_of_arrival)
                raw = (
                    f"<iq type='get' id='{id}' from='{escape(ours)}' to='{escape(theirs)}'>"
                    "<ping xmlns='urn:xmpp:ping'/></iq>"
                ).encode()
                if self.management is not None:  # switched on behind what was sent
                    self.management.state.push(raw)
                self.transport.write(raw)
                return

    # -- the end -------------------------------------------------------------------------------

    def retire(self) -> None:
        """Send nothing more; what was sent may be acknowledged, for a while."""
        if not self.closing:
            self.closing, self.sends = True, False
            self.closing_since = self.owner.clock.seconds()

    @property
    def retired(self) -> bool:
        """It can be closed now."""
        return self.closing and (not self.owes or self.owner.clock.seconds() - self.closing_since > _RETIRING)

    def close(self) -> None:
        """End the stream politely; nothing more is sent on it."""
        self.proof_of_arrival.look()
        if not self.transport.closed:
            self.transport.write(_END)
        self._end()

    def fail(self, error: StreamError) -> None:
        """End the stream with an error."""
        if self.ended:
            return
        _log.info("a link ends: {condition}", condition=error.condition)
        if not self.transport.closed:
            self.transport.write(error.xml() + _END)
        self._end()

    def _end(self) -> None:
        self.stream.close()
        self.transport.close()
        self._over()

    def stream_closed(self) -> None:
        """The peer closed its stream: so do we (RFC 6120 §4.4). What it did not acknowledge goes again."""
        self.close()

    def stream_failed(self, error: StreamError) -> None:
        """What the peer sent ends the stream."""
        self.fail(error)

    def connection_lost(self) -> None:
        """The socket is gone."""
        self.broke = not self.ended
        self._over()

    def output_drained(self) -> None:
        """The peer reads again."""
        self.owner.has_room(self)

    def _over(self) -> None:
        if not self.ended:
            self.ended, self.sends = True, False
            self.owner.ended(self)
