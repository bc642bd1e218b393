"""XEP-0377 Blocking Command Reports: why somebody was blocked, for those who run the server.

Comes as a part of the blocking command (`xep_0191_blocking.py`), which no report stops (§6). Reports are
kept for the operator, who lists them on the console (`reports`); nothing is forwarded, whatever the user
would allow (§5).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from sqlalchemy import bindparam, delete, insert, select
from twisted.logger import Logger

from msgd.routing.extension import Extension, Xep
from msgd.storage.database import Connection
from msgd.storage.schema import abuse_report, account
from msgd.wire.jid import JID

NAMESPACE: Final = "urn:xmpp:reporting:1"
#: The reasons of §4, as an operator reads them; others are shown as they are written.
REASONS: Final = {"urn:xmpp:reporting:spam": "spam", "urn:xmpp:reporting:abuse": "abuse"}
#: Characters of a report's text, and of a reason; messages it may name: a sentence, a conversation.
_LONGEST: Final = 1000
_LONGEST_REASON: Final = 100
_UNSPECIFIED: Final = "unspecified"
_MOST_IDS: Final = 50
#: Reports of one account that are kept, the newest: nobody fills the disk with them.
_MOST: Final = 100

_log = Logger("msgd.reports")
_KEEP: Final = insert(abuse_report)
_OF_ACCOUNT: Final = (
    select(abuse_report.c.id)
    .where(abuse_report.c.account_id == bindparam("account_id"))
    .order_by(abuse_report.c.id.desc())
    .limit(bindparam("most"))
)
_REMOVE_OLDER: Final = delete(abuse_report).where(
    abuse_report.c.account_id == bindparam("account_id"), abuse_report.c.id < bindparam("id")
)
_LIST: Final = (
    select(
        abuse_report.c.received,
        account.c.name,
        account.c.domain,
        abuse_report.c.jid,
        abuse_report.c.reason,
        abuse_report.c.text,
        abuse_report.c.messages,
    )
    .join(account, account.c.id == abuse_report.c.account_id)
    .order_by(abuse_report.c.received.desc(), abuse_report.c.id.desc())
    .limit(bindparam("most"))
)


class Reporting(Extension):
    """XEP-0377 Blocking Command Reports."""

    xep = Xep(377, "0.4.1")
    features = frozenset({NAMESPACE})
    proves = "xep_0377/*"


@dataclass(frozen=True)
class Report:
    """Somebody was reported: `reason` is a value of `REASONS`, or what else stood there.

    `messages` are stanza-ids.
    """

    jid: JID
    reason: str
    text: str
    messages: list[str] = field(default_factory=list)

    def keep(self, connection: Connection, account_id: int) -> None:
        """Write it down; of one account the newest are kept."""
        row = {
            "account_id": account_id, "jid": str(self.jid), "reason": self.reason, "text": self.text,
            "messages": json.dumps(self.messages), "received": int(time.time()),
        }  # fmt: skip
        connection.insert(_KEEP, row)
        kept = connection.all(_OF_ACCOUNT, {"account_id": account_id, "most": _MOST})
        connection.run(_REMOVE_OLDER, {"account_id": account_id, "id": kept[-1][0]})


def report_of(item: Element) -> tuple[str, str, list[str]] | None:
    """Reason, text and messages of the report in an item to be blocked; None without one."""
    report = item.find(f"{{{NAMESPACE}}}report")
    if report is None:
        return None
    said = report.get("reason", "").strip()
    reason = REASONS.get(said, said[:_LONGEST_REASON]) or _UNSPECIFIED
    text = (report.findtext(f"{{{NAMESPACE}}}text") or "").strip()[:_LONGEST]
    ids = [found.get("id", "")[:_LONGEST] for found in report.findall("{urn:xmpp:sid:0}stanza-id")]
    return reason, text, ids[:_MOST_IDS]


def tell_log(reports: Sequence[Report]) -> None:
    """Tell the log, without addresses, that reports have come."""
    for report in reports:
        known = report.reason if report.reason in REASONS.values() else "something else"
        _log.warn("somebody was reported for {reason}; see `reports` on the console", reason=known)


def list_reports(connection: Connection, most: int) -> list[tuple[int, str, str, str, str, int]]:
    """The newest: when, by whom, who, why, with which text, how many messages are named."""
    return [
        (when, f"{name}@{domain}", jid, reason, text, len(json.loads(messages)))
        for when, name, domain, jid, reason, text, messages in connection.all(_LIST, {"most": most})
    ]
