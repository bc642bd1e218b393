"""Console commands about components (XEP-0114)."""

from __future__ import annotations

from msgd.console.registry import Context, command
from msgd.console.text import Answer, Rows, duration


@command("components", "programs that speak for domains of their own")
async def components(context: Context) -> Answer:
    """Lists the components that are configured: for how long they are connected and from where, stanzas that
    came from them and went to them, bytes that their sockets have not taken."""
    now = context.server.reactor.seconds()
    rows: list[tuple[object, ...]] = []
    for component in context.server.router.components.values():
        stream = component.stream
        if stream is None:
            rows.append((component.jid, "away", "", "", "", ""))
            continue
        state = f"for {duration(now - stream.connected)}"
        rows.append((component.jid, state, stream.address, stream.received, stream.sent, stream.buffered))
    return Rows(("component", "connected", "from", "received", "sent", "waiting"), rows)
