"""What the extensions declare is true: transcripts, features, and nothing left after unloading."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from msgd.routing.extension import ACCOUNT, HOST, Extension, Xep
from msgd.routing.extensions import Extensions
from msgd.xeps import ALL

if TYPE_CHECKING:
    from msgd.routing.router import Router

SPECIFICATION = Path(__file__).parents[2] / "protocol_spec"


def each(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        name, ALL, ids=[extension.__module__.rpartition(".")[2] for extension in ALL]
    )


@pytest.fixture
def router() -> Router:
    """Enough of one to make extensions, which touch nothing before `start`."""
    table = SimpleNamespace(loaders=[], default_loaders=[], accounts=list)
    nothing = SimpleNamespace(config=None, database=None, accounts=None, extensions=Extensions(), table=table)
    return cast("Router", nothing)


@each("extension")
def test_is_proven_by_a_transcript(extension: type[Extension]) -> None:
    assert extension.proves
    transcripts = list(SPECIFICATION.glob(extension.proves))
    assert any(path.suffix == ".md" for path in transcripts), extension.proves


@each("extension")
def test_module_name_and_text_say_which_specification(extension: type[Extension]) -> None:
    assert isinstance(extension.xep, Xep)
    module = extension.__module__.rpartition(".")[2]
    assert module.startswith(f"xep_{extension.xep.number:04d}_")
    assert (extension.__doc__ or "").startswith(extension.xep.name)
    assert re.fullmatch(r"\d+(\.\d+)+", extension.xep.version)


def test_every_module_is_listed() -> None:
    folder = Path(__file__).parents[2] / "msgd" / "xeps"
    modules = {path.stem for path in folder.glob("xep_*.py")}
    assert modules == {extension.__module__.rpartition(".")[2] for extension in ALL}


def test_discovery_tells_exactly_what_is_declared(router: Router) -> None:
    extensions = router.extensions
    for extension in ALL:
        extensions.load(extension(router))
    for at, attribute in ((HOST, "features"), (ACCOUNT, "account_features")):
        declared = sorted(set().union(*(getattr(extension, attribute) for extension in ALL)))
        assert extensions.features(at) == declared
        assert declared


def test_every_namespace_that_is_answered_is_told(router: Router) -> None:
    """A client that asks what there is finds each IQ that is answered at the domain."""
    for extension in ALL:
        loaded = extension(router)
        extensions = Extensions()
        extensions.load(loaded)
        for at, _, payload in extensions._iqs:
            if at is HOST:
                assert payload.partition(" ")[0] in extension.features


@each("extension")
def test_unloading_leaves_nothing(extension: type[Extension], router: Router) -> None:
    class Loaded(extension):  # type: ignore[misc, valid-type]  # a class that is only known here
        def stop(self) -> None:
            """It was never started."""

    extensions = Extensions()
    before = repr(vars(extensions))
    loaded = Loaded(router)
    extensions.load(loaded)
    extensions.unload(loaded)
    assert repr(vars(extensions)) == before


def test_two_that_want_one_iq_are_refused(router: Router) -> None:
    extensions = Extensions()
    for extension in ALL:
        extensions.load(extension(router))
    with pytest.raises(ValueError, match="answered twice"):
        extensions.load(next(e for e in ALL if e.xep == Xep(30, "2.5.0"))(router))
