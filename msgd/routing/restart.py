"""Sessions over a graceful restart (XEP-0198 §5): written down at the stop, found at the start, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, insert, select
from twisted.logger import Logger

from msgd.routing.session import Session
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.routing.router import Router

_log = Logger("msgd.routing")
_sessions = schema.stream_session
_INSERT_SESSION: Final = insert(_sessions).values(
    id=bindparam("id"), account_id=bindparam("account_id"), resource=bindparam("resource"),
    state=bindparam("state"), expires=bindparam("expires"),
)  # fmt: skip
_DELETE_SESSIONS: Final = delete(_sessions)
_READ_SESSIONS: Final = select(
    _sessions.c.id, _sessions.c.resource, _sessions.c.state, _sessions.c.expires,
    schema.account.c.domain, schema.account.c.name,
).join(schema.account, schema.account.c.id == _sessions.c.account_id)  # fmt: skip


def keep(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write down what `Resumption.write_down` gave."""
    connection.run(_DELETE_SESSIONS)
    connection.run_many(_INSERT_SESSION, rows)


def restore(router: Router) -> None:
    """Find the sessions that a graceful stop wrote down. They are read once."""
    rows = router.database.read_now(lambda connection: connection.all(_READ_SESSIONS))
    if not rows:
        return
    router.database.write_now(lambda connection: connection.run(_DELETE_SESSIONS))
    router.table.load_now({JID.make(name, domain) for *_, domain, name in rows})
    for id, resource, state, expires, domain, name in rows:
        left = expires - router.clock.seconds()
        if left <= 0:
            continue
        account = router.table.account(JID.make(name, domain))
        if account is not None:
            known = json.loads(state)
            session = Session(router, account, JID.make(name, domain, resource), known["mechanism"])
            router.resumption.restore(session, id, known, left)
    _log.info("{count} sessions wait to be resumed", count=len(rows))
