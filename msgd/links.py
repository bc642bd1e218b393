"""The door to other servers: accepts and makes links, and sends what goes to other domains on its way.

Stands between `negotiation/`, which knows nothing of routing, the router, and the queue of what waits
(`spool/link_queue.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from twisted.logger import Logger

from msgd.config import Config
from msgd.link_attempts import Attempts
from msgd.link_door import LinkDoor
from msgd.link_resumption import BrokenLinks
from msgd.link_review import expired, expiry, not_permitted, objection
from msgd.link_sharing import Sharing
from msgd.negotiation.link_incoming import IncomingNegotiation
from msgd.negotiation.link_outcome import Established, LinkFault
from msgd.routing.link import Link
from msgd.routing.link_management import LinkManagement
from msgd.routing.link_proof import Proof
from msgd.routing.router import Router
from msgd.routing.stream_management import Kept, Receipt, Sent
from msgd.spool.link_queue import LinkQueue
from msgd.spool.outbox import Outbox
from msgd.wire.errors import StanzaError, StreamError
from msgd.wire.jid import JID
from msgd.wire.rate_limit import RateLimit
from msgd.wire.stanza import Stanza
from msgd.wire.tls import ServerContexts

_log = Logger("msgd.links")
#: Seconds between two looks for links that are idle, or whose peer does not answer.
_LOOK: Final = 5.0
#: Seconds after which a link is given up on which an acknowledgement is owed, or that takes nothing.
_UNRESPONSIVE: Final = 60.0
#: Bytes that a domain may send at once before its rate counts.
_BURST: Final = 4 * 1024 * 1024


class Links(LinkDoor):
    """What negotiation, links and the router need of each other (`LinkServer`, `Owner`, `Destination`)."""

    def __init__(
        self, config: Config, reactor: Any, router: Router, contexts: ServerContexts, secret: bytes
    ) -> None:
        super().__init__(config, reactor, router, contexts, secret)
        options = config.federation
        self.queue = LinkQueue(
            router.database,
            reactor,
            options,
            config.spool.window / 1000,
            config.spool.batch,
            self._connect,
            router.fail,
            self._tell,
        )
        # Acknowledgements to those who sent something wait for both.
        self.queue.on_trouble = router.spool.not_stored
        self.links: dict[Link, None] = {}
        self._sharing = Sharing(self, self.links)
        self._broken = BrokenLinks(reactor, self._lost)
        self.attempts = Attempts(
            reactor, self.queue, self._dialler, self._sharing, self._broken, self._established, self._linked
        )
        self.attempts.seconds = options.attempt_time
        self._rates: dict[str, RateLimit] = {}
        self._pings: dict[str, tuple[JID, Proof]] = {}
        self._timer: Any = None
        self.stopping = False

    def configure(self, config: Config) -> None:
        """Use these options from now on. Raises OSError, OpenSSL.SSL.Error for the authorities."""
        super().configure(config)
        self.queue.options = config.federation
        self.attempts.seconds = config.federation.attempt_time
        self._rates.clear()
        for link in list(self.links):
            self._limit(link, link.domains)
            error = objection(self, link, link.theirs)
            if error is not None:
                management = link.management
                link.fail(error)
                self._broken.forget(management)
        self._broken.forget_with(lambda domain: not self.policy.permits(domain))
        for outbox in self.queue:
            if not self.policy.permits(outbox.theirs):
                outbox.attempt()  # what waits comes back

    def start(self) -> None:
        """Take up what waits, and look after the links."""
        count = self.queue.start()
        if count:
            _log.info("{count} messages wait for other servers", count=count)
        self._timer = self._reactor.callLater(_LOOK, self._look)

    async def stop(self) -> None:
        """Store everything, and end the links."""
        self.stopping = True
        self.attempts.seconds = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for link in list(self.links):
            link.fail(StreamError("system-shutdown"))
        self._broken.stop()

    # -- as a destination ----------------------------------------------------------------------

    def send(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """See `routing.destination.Destination`."""
        return self.queue.send(stanza, receipt)

    def explain(self, to: JID) -> str:
        """See `routing.destination.Destination`."""
        if not self.policy.permits(to.domain):
            return f"links with {to.domain} are not allowed: remote-server-not-found"
        lines = [
            f"{outbox.ours}: {outbox.state}, {outbox.backlog.count} messages wait"
            for outbox in self.queue
            if outbox.theirs == to.domain
        ]
        return f"to the server of {to.domain}; " + ("; ".join(lines) or "a link is made when needed")

    def _tell(self, message: Stanza) -> bool:
        """Bring a message of the server's own to an account; False when nobody is there."""
        account = self._router.table.account(message.to) if message.to is not None else None
        if account is None or not account.reachable():
            return False
        self._router.route(message)
        return True

    # -- as the door for links

    def accepted(self, negotiation: IncomingNegotiation, theirs: JID, ours: JID, proof: str) -> None:
        """A stream from another server is a link. Raises StreamError when there are too many."""
        count = sum(1 for link in self.links if link.incoming and theirs in link.domains)
        if count >= self._config.federation.incoming:
            raise StreamError("policy-violation", "too many streams from this domain")
        header = negotiation.header
        link = Link(
            self,
            negotiation.transport,
            negotiation.stream,
            (ours, theirs),
            negotiation.dialback,
            incoming=True,
            both_ways=negotiation.both_ways,
            proof=proof,
            lang=header.lang if header is not None else None,
            largest=negotiation.largest,
        )
        self._attach(link)
        link.authorize(theirs, ours)

    def _attach(self, link: Link) -> None:
        self.links[link] = None
        link.expires = expiry(link)
        self._sharing.attach(link)
        link.attach()

    # -- links to other servers ----------------------------------------------------------------

    async def _connect(self, outbox: Outbox) -> None:
        await self.attempts.connect(outbox)

    def _linked(self, outbox: Outbox, link: Link, resumed: bool = False) -> None:
        """There is a link for this pair, unless it has one."""
        if outbox.link is None and not link.ended:
            if not resumed:
                self._broken.forget(self._broken.ours((outbox.ours, outbox.theirs)))
            outbox.linked(link, resumed)

    def _established(self, outbox: Outbox, made: Established, before: LinkManagement | None) -> None:
        pair = outbox.ours, outbox.theirs
        link = Link(
            self,
            made.transport,
            made.stream,
            pair,
            made.dialback,
            incoming=False,
            both_ways=made.both_ways,
            proof=made.proof,
            lang=made.lang,
            largest=made.largest,
        )
        link.endpoint = made.transport.address, made.port
        self._attach(link)
        if not self.policy.permits(outbox.theirs):
            link.fail(not_permitted(outbox.theirs))  # since the attempt began
            return
        link.accepted(*pair)
        managed, ahead = made.managed, deque(made.ahead)
        for _ in range(managed.uncounted if managed is not None else 0):
            link.frame_received(*ahead.popleft())
        if link.ended:
            return
        resumed = managed is not None and managed.handled is not None and before is not None
        if resumed and before is not None and managed is not None:
            self._broken.resumed(before)
            try:
                before.state.rewind()
                before.go_on(link, managed.handled or 0)
            except StreamError as error:
                link.fail(error)
                return
            before.send_again()
        else:
            self._broken.forget(before)
            if managed is not None:
                link.management = LinkManagement(link)
                link.management.id = managed.id
        for each in list(link.pairs):
            self._linked(self.queue.outbox(*each), link, resumed)
        while ahead and not link.ended:
            link.frame_received(*ahead.popleft())

    def _lost(self, management: LinkManagement) -> None:
        """What was on its way and is kept goes again; of the rest, questions get their error."""
        for sent in management.state.queue or ():
            if isinstance(sent, bytes):
                self.undelivered(sent)

    # -- what links tell -----------------------------------------------------------------------

    def arrived(self, stanza: Stanza, receipt: Receipt | None) -> None:
        """A stanza that a link vouches for."""
        if self._pings and stanza.kind == "iq" and self._is_pong(stanza):
            return
        self._router.from_remote(stanza, receipt)

    def pinged(self, id: str, theirs: JID, proof: Proof) -> None:
        """A ping goes to `theirs`: when its answer comes, `proof` is told."""
        self._pings[id] = theirs, proof

    def _is_pong(self, stanza: Stanza) -> bool:
        """Whether it answers a ping of a link, and that was told."""
        theirs, proof = self._pings.get(stanza.id or "", (None, None))
        if proof is None or stanza.from_ != theirs or stanza.type not in ("result", "error"):
            return False
        del self._pings[stanza.id or ""]
        proof.answered(stanza.id or "")
        return True

    def authorized(self, link: Link, theirs: JID, ours: JID) -> None:
        """One more pair of domains on a link. Raises StreamError where that is not allowed any more."""
        if not self.policy.permits(theirs):
            raise not_permitted(theirs)
        _log.debug("a link from {theirs} to {ours} ({proof})", theirs=theirs, ours=ours, proof=link.proof)
        self.refusals.pop(theirs, None)
        self._limit(link, (theirs,))
        if link.both_ways:
            self._linked(self.queue.outbox(ours, theirs), link)

    def _limit(self, link: Link, domains: Iterable[str]) -> None:
        """What the peer sends counts as that of `domains`, whatever stream it comes on."""
        rate = self._config.federation.bytes_per_second
        link.transport.rate_limit = None
        for domain in domains if rate else ():
            if domain not in self._rates:
                self._rates[domain] = RateLimit(rate, max(_BURST, rate), self._reactor.seconds())
            link.transport.rate_limit = self._rates[domain]

    def acknowledged(self, sent: Iterable[Sent]) -> None:
        """A peer has these: of the messages among them nothing need be kept."""
        self.queue.acknowledged(sent)

    def unproven(self, link: Link, kept: Kept) -> None:
        """A message was sent of which the link cannot tell whether it arrived but by looking."""
        self.queue.prove_soon(link, kept)

    def undelivered(self, raw: bytes) -> None:
        """A stanza that nobody keeps never arrived: who asked something learns it."""
        if raw.startswith(b"<iq"):
            stanza = Stanza.from_bytes(raw)
            if stanza.type in ("get", "set"):
                self._router.fail(stanza, StanzaError("remote-server-timeout"))

    def has_room(self, link: Link) -> None:
        """A link can take more again."""
        for ours, theirs in list(link.pairs):
            outbox = self.queue.find(ours, theirs)
            if outbox is not None and outbox.link is link:
                outbox.pump()

    def ended(self, link: Link) -> None:
        """A link is over."""
        self.links.pop(link, None)
        self._pings.pop(link.proof_of_arrival.ping, None)
        if link.dialback.asking is not None:
            link.dialback.asking.over(LinkFault("stream", "the stream ended"))
        found = [self.queue.find(*pair) for pair in link.pairs]
        outboxes = [outbox for outbox in found if outbox is not None and outbox.link is link]
        management = link.management
        if management is not None:
            management.link = None
            if link.incoming:
                self._broken.keep_theirs(management, 0 if self.stopping else self._config.federation.resume)
            elif link.refusal:
                self._lost(management)
            elif link.broke or management.state.queue is not None:
                self._broken.keep_ours(management, [(each.ours, each.theirs) for each in outboxes])
        for outbox in outboxes:
            outbox.unlinked()
        for domain in link.domains:
            if not any(domain in other.domains for other in self.links):
                self._rates.pop(domain, None)

    def resume(self, link: Link, id: str, handled: int) -> LinkManagement | None:
        """The state of the link of that id, which broke, or of which we do not know that yet."""
        for other in list(self.links):
            if other is not link and other.management is not None and id and other.management.id == id:
                other.fail(StreamError("conflict", "the stream was resumed elsewhere"))
        found = self._broken.take_theirs(link, id)
        return None if found is None or objection(self, link, found.domains) is not None else found

    # -- now and then --------------------------------------------------------------------------

    def _look(self) -> None:
        """Close links that are idle, give up those that are stuck."""
        self._timer = self._reactor.callLater(_LOOK, self._look)
        now = self._reactor.seconds()
        idle = self._config.federation.idle
        for link in list(self.links):
            link.look(now)
            management = link.management
            since = (management or link.proof_of_arrival).waits_since()
            if since is not None and now - since > _UNRESPONSIVE:
                link.fail(StreamError("connection-timeout", "no acknowledgement comes"))
            elif link.transport.buffered and now - link.last_used > _UNRESPONSIVE:
                link.fail(StreamError("connection-timeout", "nothing is read"))
            elif link.expires < now and expired(self, link):
                link.fail(StreamError("reset", "your certificate has expired"))
            elif link.retired or (now - link.last_used > idle and not link.owes):
                link.close()
