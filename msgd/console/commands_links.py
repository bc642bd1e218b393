"""Console commands about other servers: which links there are, and why there is none."""

from __future__ import annotations

from typing import Any, Final

from msgd.console.registry import CommandError, Context, address, command
from msgd.console.text import Answer, Rows, duration
from msgd.negotiation.link_outcome import STAGES, Trace
from msgd.wire.jid import JID

_MOST: Final = 500
_UNCERTIFIED: Final = (
    "have the certificate of a domain here issued for {ours} too (then SIGHUP); else the other server has to"
    " accept {ours} by dialback"
)


def _links(context: Context) -> Any:
    if context.server.links is None:
        raise CommandError("there are no links to other servers: federation.enabled is false")
    return context.server.links


def _domain(text: str) -> JID:
    jid = address(text)
    if jid.local or jid.resource:
        raise CommandError("name a domain, such as example.org")
    return jid


@command("links", "links to and from other servers")
async def links(context: Context) -> Answer:
    """All streams between this server and others: which way, the domains that share it, how the identity was
    proved, what went over it, and for how long it has been there."""
    return _rows(context, list(_links(context).links)[:_MOST])


def _rows(context: Context, listed: list[Any]) -> Rows:
    now = context.server.reactor.seconds()
    return Rows(
        ("way", "ours", "theirs", "proof", "resumable", "sent", "received", "bytes waiting", "age"),
        [
            (
                "both" if link.both_ways else "in" if link.incoming else "out",
                ", ".join(sorted(link.ours)),
                ", ".join(sorted(link.theirs)),
                link.proof,
                bool(link.management is not None and link.management.id),
                link.sent,
                link.received,
                link.transport.buffered,
                duration(now - link.since),
            )
            for link in listed
        ],
    )


@command("link DOMAIN", "what goes to one other server, and what waits for it")
async def link_(context: Context, which: str) -> Answer:
    """What waits for the domain, when it is tried again, and why the last attempt failed."""
    domain = _domain(which)
    found = [outbox for outbox in _links(context).queue if outbox.theirs == domain]
    return Rows(
        ("from", "state", "messages", "bytes", "failed attempts", "next attempt", "last fault"),
        [
            (
                outbox.ours,
                outbox.state,
                outbox.backlog.count,
                outbox.backlog.size,
                outbox.failures,
                duration(outbox.next_attempt) if outbox.next_attempt is not None else None,
                str(outbox.fault) if outbox.fault is not None else None,
            )
            for outbox in found
        ],
    )


@command("why DOMAIN", "why there is a link with a domain, or none, step by step, both ways")
async def why(context: Context, which: str) -> Answer:
    """Looks the domain up, connects, and negotiates as for a message, and tells each step; where that
    ends, what can be done about it; so for each domain of this server, components' too. Then tells of the
    streams that came from there."""
    domain, server, table = _domain(which), _links(context), context.server.router.table
    if server.is_ours(domain):
        raise CommandError(f"{domain} is a domain of this server")
    lines: list[str] = []
    for ours in [*sorted(table.domains), *sorted(map(JID.parse, table.destinations))]:
        lines.append(f"from {ours} to {domain}:")
        trace = await server.attempts.examine(ours, domain)
        if server.certified(ours):
            lines += _told(trace)
        else:
            lines.append(f"  {'identity':<14} no certificate of this server is for {ours}")
            lines += _told(trace, _UNCERTIFIED.format(ours=ours))
    return [*lines, f"from {domain} to this server:", *_incoming(context, server, domain)]


def _told(trace: Trace, uncertified: str = "") -> list[str]:
    """The steps; `uncertified` is the remedy where the peer does not accept us."""
    lines = [f"  {stage:<14} {text}" for stage, text in trace.steps]
    fault = trace.fault
    if fault is None:
        return [*lines, "  there is a link"]
    if not trace.steps or trace.steps[-1] != (fault.stage, f"failed: {fault}"):
        lines.append(f"  {fault.stage:<14} failed: {fault}")
    if uncertified and fault.stage in ("stream", "authentication"):
        return [*lines, f"  remedy: {uncertified}"]
    return [*lines, f"  remedy: {STAGES.get(fault.stage, '')}"]


def _incoming(context: Context, server: Any, domain: JID) -> list[str]:
    lines = [
        f"  a link to {', '.join(sorted(link.ours))} by {link.proof}, {link.received} stanzas came"
        for link in server.links
        if domain in link.domains
    ]
    refusal = server.refusals.get(domain)
    if refusal is not None:
        when, where, reason = refusal
        ago = duration(context.server.reactor.seconds() - when)
        source = f" from {where}" if where else ""
        lines.append(f"  {ago} ago a stream{source} was refused: {reason}")
        lines.append(f"  remedy: {_remedy(reason)}")
    return lines or ["  no stream has come"]


def _remedy(reason: str) -> str:
    if "certificate" in reason:
        return STAGES["identity"]
    if "dialback" in reason:
        return "the peer proves nothing by a certificate: it needs one, or federation.dialback names it"
    return "its operator reads the same reason in the stream's error"
