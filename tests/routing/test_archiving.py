"""Preferences: whose messages an archive keeps (XEP-0441 §2)."""

from __future__ import annotations

import pytest

from msgd.routing.archiving import ALWAYS, NEVER, ROSTER, Preference
from msgd.wire.jid import JID

_ROMEO, _ELSEWHERE = JID.parse("romeo@localhost/orchard"), JID.parse("romeo@localhost/elsewhere")
_NOBODY: frozenset[JID] = frozenset()


@pytest.mark.parametrize(
    ("default", "always", "never", "wanted"),
    [
        (ALWAYS, _NOBODY, _NOBODY, True),
        (NEVER, _NOBODY, _NOBODY, False),
        (ROSTER, _NOBODY, _NOBODY, False),
        (ALWAYS, _NOBODY, {_ROMEO.bare}, False),
        (ALWAYS, _NOBODY, {_ROMEO}, False),
        (ALWAYS, _NOBODY, {_ELSEWHERE}, True),
        (NEVER, {_ROMEO.bare}, _NOBODY, True),
        (NEVER, {_ROMEO}, _NOBODY, True),
        (NEVER, {_ELSEWHERE}, _NOBODY, False),
        (ALWAYS, {_ROMEO}, {_ROMEO.bare}, False),
    ],
)
def test_whom_an_archive_wants(
    default: str, always: frozenset[JID], never: frozenset[JID], wanted: bool
) -> None:
    assert Preference(default, always, never).wants(_ROMEO) is wanted


def test_contacts_are_wanted_whatever_their_resource() -> None:
    preference = Preference(ROSTER)
    preference.contacts = frozenset({_ROMEO.bare})
    assert preference.wants(_ROMEO) and preference.wants(_ROMEO.bare)
    assert not preference.wants(JID.parse("paris@localhost"))


def test_whether_there_is_anything_to_archive_at_all() -> None:
    assert Preference(ALWAYS).anything and Preference(ROSTER).anything
    assert Preference(NEVER, {_ROMEO}).anything
    assert not Preference(NEVER, never={_ROMEO}).anything
