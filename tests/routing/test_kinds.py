"""The table protocol_spec/message_kinds.md, put to the functions that decide."""

from __future__ import annotations

import pytest

from msgd.routing.kinds import archived, can_wait, copied, kept, pushed
from msgd.wire.stanza import Stanza
from tests.specification.transcript import rows_of

Row = dict[str, str]
_ROWS = rows_of("message_kinds.md")


def _stanza(row: Row) -> Stanza:
    raw = f"<message xmlns='jabber:client' {row['type']}>{row['content']}</message>"
    return Stanza.from_bytes(raw.encode())


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row["kind"])
def test_as_the_table_says(row: Row) -> None:
    stanza = _stanza(row)
    said = {
        "kept": row["kept"] == "yes",
        "archived": row["archived"] == "yes",
        "received": row["copied"] == "both",
        "sent": row["copied"] in ("both", "sent"),
        "pushed": row["pushed"] == "yes",
        "waits": row["waits"] == "yes",
    }
    assert said == {
        "kept": kept(stanza),
        "archived": archived(stanza),
        "received": copied(stanza, sent=False),
        "sent": copied(stanza, sent=True),
        "pushed": pushed(stanza),
        "waits": can_wait(stanza),
    }


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row["kind"])
def test_what_waits_is_not_kept_and_wakes_nobody(row: Row) -> None:
    """What is kept is sent on at once, so that the spool is rid of it."""
    assert row["waits"] == "no" or (row["kept"], row["pushed"]) == ("no", "no")


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row["kind"])
def test_what_is_archived_is_also_kept(row: Row) -> None:
    """It is one record."""
    assert row["archived"] == "no" or row["kept"] == "yes"


def test_every_kind_has_a_name_of_its_own() -> None:
    names = [row["kind"] for row in _ROWS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("kind", ["presence", "iq"])
def test_only_messages_are_kept(kind: str) -> None:
    assert not kept(Stanza(kind, b"", {}, ("jabber:client body",)))


@pytest.mark.parametrize(
    ("raw", "waits"),
    [
        ("<presence />", True),
        ("<presence type='unavailable'/>", True),
        ("<presence type='subscribe'/>", False),
        ("<presence type='subscribed'/>", False),
        ("<presence type='probe'/>", False),
        ("<presence type='error'/>", False),
        ("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", False),
        ("<iq type='result' id='1'/>", False),
    ],
)
def test_what_waits_beside_messages(raw: str, waits: bool) -> None:
    assert can_wait(Stanza.from_bytes(raw.replace(" ", " xmlns='jabber:client' ", 1).encode())) is waits
