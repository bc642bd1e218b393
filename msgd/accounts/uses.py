"""What an account uses of what most do not: one bit each in its row.

An account is looked up with one statement; only where a bit is set, the extension behind it reads more.
So what an account does not use costs it nothing.
"""

from __future__ import annotations

import enum
from typing import Final

from sqlalchemy import bindparam, update

from msgd.storage.database import Connection
from msgd.storage.schema import account

_SET: Final = (
    update(account)
    .where(account.c.id == bindparam("account_id"))
    .values(uses=account.c.uses.op("|")(bindparam("bit")))
)
_CLEAR: Final = (
    update(account)
    .where(account.c.id == bindparam("account_id"))
    .values(uses=account.c.uses.op("&")(bindparam("others")))
)


class Uses(enum.IntFlag):
    """The bits of the column `account.uses`; they are in databases, so none is ever given a new meaning."""

    BLOCKING = 1  #: it blocks somebody (XEP-0191)
    ARCHIVE = 2  #: it has preferences for its archive (XEP-0313, XEP-0441)
    PUSH = 4  #: an app server is told when messages wait (XEP-0357)
    PEP = 8  #: it has nodes (XEP-0163)
    DEVICES = 16  #: clients that name themselves have logged in (XEP-0388)


def mark(connection: Connection, account_id: int, use: Uses, on: bool) -> None:
    """Note that the account uses something, or no longer, in the transaction that makes it so."""
    if on:
        connection.run(_SET, {"account_id": account_id, "bit": int(use)})
    else:
        connection.run(_CLEAR, {"account_id": account_id, "others": ~int(use)})
