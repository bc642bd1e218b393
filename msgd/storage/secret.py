"""The server's own secrets: random bytes, made once and kept in the database.

Used for what must stay the same over restarts and be known to nobody else, such as the salts shown for
accounts that do not exist (RFC 5802 §9 leaves that to the server) and the key of the hashes in the log.
"""

import secrets

from sqlalchemy import bindparam, insert, select

from msgd.storage.database import Connection
from msgd.storage.schema import secret as table

_FIND = select(table.c.value).where(table.c.name == bindparam("name"))
_KEEP = insert(table)


def secret(connection: Connection, name: str, size: int = 32) -> bytes:
    """Return the secret called `name`; make it of `size` random bytes when it is not there yet.

    To be run inside a write job: `database.write_now(lambda connection: secret(connection, "…"))`.
    """
    row = connection.one(_FIND, {"name": name})
    if row is not None:
        return bytes(row[0])
    value = secrets.token_bytes(size)
    connection.run(_KEEP, {"name": name, "value": value})
    return value
