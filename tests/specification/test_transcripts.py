"""Plays every transcript of protocol_spec/, as it is and split at every byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.forks import ForkServer
from tests.specification.play import Failed
from tests.specification.stage import Performance, Stage, performances
from tests.specification.transcript import find

_ALL = performances(find(), (False, True))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Stage]:
    """The servers, which must also end well."""
    stage = Stage(tmp_path_factory.mktemp("specification"), _ALL, forks)
    yield stage
    stage.close()


@pytest.mark.parametrize("performance", _ALL, ids=lambda performance: performance.name)
def test_transcript(stage: Stage, performance: Performance) -> None:
    """What the transcript tells is what happens."""
    try:
        stage.play(performance)
    except Failed as failed:
        pytest.fail(str(failed), pytrace=False)
