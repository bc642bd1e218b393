"""The answers to IQs go to the session that asked, and to no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from msgd.routing.extension import OWN, Extension, Rfc, on_iq
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from tests.routing.world import World

_QUESTION = "<iq type='get' id='q'><question xmlns='urn:slow'/></iq>"


class Slow(Extension):
    """Answers when it is told to."""

    xep = Rfc(6121)

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # the router
        self.answers: list[Deferred[None]] = []

    @on_iq("get", "urn:slow", "question", at=(OWN,))
    async def answer(self, stanza: Stanza) -> None:
        """Wait."""
        self.answers.append(Deferred())
        await self.answers[-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server without doors."""
    made = World(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("outcome", [None, StanzaError("not-allowed"), ValueError("a defect")])
def test_who_binds_the_resource_anew_gets_no_answers_of_before(world: World, outcome: Any) -> None:
    slow = Slow(world.router)
    world.router.extensions.load(slow)
    before = world.connects("juliet@localhost/balcony")
    before.sends(_QUESTION, wait=False)
    before.ends()
    now = world.connects("juliet@localhost/balcony")
    now.sends(_QUESTION, wait=False)
    for answer in slow.answers:
        answer.callback(None) if outcome is None else answer.errback(outcome)
    kind = "result" if outcome is None else "error"
    assert [(each.get("id"), each.get("type")) for each in now.elements()] == [("q", kind)]
