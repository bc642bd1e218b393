"""Queries without end: one after the other, and not too many that wait (XEP-0313)."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from msgd.spool.archive_store import Archived, Page
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.xeps.archive_query import NAMESPACE
from msgd.xeps.xep_0313_archive import _QUERIES, MessageArchive


class _Never:
    """An archive whose store does not answer, and a session that asks it."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Any]] = []
        self.account = self
        self.id, self.ended = 1, False
        self.archive = self.router = self.table = self
        self.config = self
        self.most_per_page = 100
        self.database = self.accounts = self.clock = None

    def congested(self) -> bool:
        return False

    def session(self, jid: object) -> _Never:
        return self

    def page(self, *query: object) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]


def test_a_flood_of_queries_is_refused_and_answered_one_by_one() -> None:
    world = _Never()
    extension = MessageArchive(cast(Any, world))
    errors: list[BaseException] = []

    def note(failure: Failure) -> None:
        errors.append(cast(BaseException, failure.value))

    query = f"<iq from='juliet@localhost/balcony' type='set' id='q'><query xmlns='{NAMESPACE}'/></iq>"
    for _ in range(_QUERIES + 11):
        asked: Deferred[Any] = Deferred.fromCoroutine(extension.search(Stanza.from_bytes(query.encode())))
        asked.addErrback(note)
    assert len(world.asked) == 1
    assert [cast(StanzaError, error).condition for error in errors] == ["resource-constraint"] * 10


def test_what_waits_is_not_given_to_a_session_that_is_over() -> None:
    world = _Never()
    extension = MessageArchive(cast(Any, world))
    query = f"<iq from='juliet@localhost/balcony' type='set' id='q'><query xmlns='{NAMESPACE}'/></iq>"
    asked: Deferred[Any] = Deferred.fromCoroutine(extension.search(Stanza.from_bytes(query.encode())))
    world.ended = True
    entry = Archived(1, 10, True, b"<message/>")
    world.asked[0].callback((Page([entry], 1, 1, True, 0, 1, 0), {1}))
    failure = cast(Failure, asked.result)
    asked.addErrback(lambda _: None)
    assert cast(StanzaError, failure.value).condition == "recipient-unavailable"
