"""The log: on standard error, without contents and, unless asked for, without addresses of users.

Twisted's logger does the work. Whoever names a user in a line says `who(jid)`: a short keyed hash, the same
for the same user as long as the database lives, or the address itself where `log.jids` is on. Bodies of
messages have no way into the log: nothing logs a stanza, and a stanza's `repr` is without content.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from typing import Any, Final

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

#: The name of the key in the table `secret`.
SECRET: Final = "log"
#: Letters of the hash: enough to tell users of one server apart, too few to be a name.
_LETTERS: Final = 10

_key = b""
_show = False
# Typed as Any: mypy cannot read Twisted's interfaces. What Twisted itself finds worth a line is of no
# use to an operator.
_predicate: Any = LogLevelFilterPredicate(LogLevel.levelWithName("warn"))


def begin(level: str) -> None:
    """Write lines of `level` and above to standard error."""
    set_level(level)
    text: Any = textFileLogObserver(sys.stderr)
    observer: Any = FilteringLogObserver(text, [_predicate])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def set_level(level: str) -> None:
    """Write lines of `level` and above from now on."""
    _predicate.setLogLevelForNamespace("msgd", LogLevel.levelWithName(level))


def name_users(key: bytes, show: bool) -> None:
    """How `who` names users: by their address (`show`), or by a hash with this key."""
    global _key, _show
    _key, _show = key, show


def who(jid: str) -> str:
    """A user in a line of the log."""
    if _show:
        return jid
    digest = hmac.digest(_key, jid.partition("/")[0].encode(), hashlib.sha256)
    return "user-" + digest.hex()[:_LETTERS]
