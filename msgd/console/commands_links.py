"""Console commands about other servers: which links there are, and why there is none."""

from __future__ import annotations

from typing import Any, Final

from msgd.console.registry import CommandError, Context, address, command
from msgd.console.text import Answer, Rows, duration
from msgd.negotiation.link_outcome import STAGES, Trace
from msgd.wire.jid import JID

_MOST: Final = 500


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
    """All streams between this server and others: which way, how the identity was proved, what went over
    it, and for how long it has been there."""
    return _rows(context, list(_links(context).links)[:_MOST])


def _rows(context: Context, listed: list[Any]) -> Rows:
    now = context.server.reactor.seconds()
    return Rows(
        ("way", "domains", "proof", "resumable", "sent", "received", "bytes waiting", "age"),
        [
            (
                "both" if link.both_ways else "in" if link.incoming else "out",
                ", ".join(sorted({*link.domains, *(theirs for _, theirs in link.pairs)})),
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
    ends, what can be done about it. Then tells of the streams that came from there."""
    domain, server = _domain(which), _links(context)
    if domain in context.server.router.table.domains:
        raise CommandError(f"{domain} is a domain of this server")
    lines: list[str] = []
    for ours in sorted(context.server.router.table.domains):
        lines += [f"from {ours} to {domain}:", *_told(await server.examine(ours, domain))]
    return [*lines, f"from {domain} to this server:", *_incoming(context, server, domain)]


def _told(trace: Trace) -> list[str]:
    lines = [f"  {stage:<14} {text}" for stage, text in trace.steps]
    fault = trace.fault
    if fault is None:
        return [*lines, "  there is a link"]
    if not trace.steps or trace.steps[-1] != (fault.stage, f"failed: {fault}"):
        lines.append(f"  {fault.stage:<14} failed: {fault}")
    return [*lines, f"  remedy: {STAGES.get(fault.stage, '')}"]


def _incoming(context: Context, server: Any, domain: JID) -> list[str]:
    lines = [
        f"  a link by {link.proof}, {link.received} stanzas came"
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
