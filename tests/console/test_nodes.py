"""What the console says of an account's nodes, and of the keys among them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_console import rows
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

_LEGACY = "eu.siacs.conversations.axolotl"
_LIST = f"<list xmlns='{_LEGACY}'><device id='1'/><device id='2'/><device id='3'/></list>"
_KEYS = "<preKeyPublic preKeyId='1'>x</preKeyPublic>" * 5
_BUNDLE = f"<bundle xmlns='{_LEGACY}'><prekeys>{_KEYS}</prekeys></bundle>"
_EMPTY = f"<bundle xmlns='{_LEGACY}'><prekeys/></bundle>"
_DEVICES = "<devices xmlns='urn:xmpp:omemo:2'><device id='7'/></devices>"
_NEW_BUNDLE = "<bundle xmlns='urn:xmpp:omemo:2'><prekeys><pk id='1'>x</pk></prekeys></bundle>"
_NODES = (
    (f"{_LEGACY}.devicelist", '{"access_model": "whitelist"}', {"current": _LIST}),
    (f"{_LEGACY}.bundles:1", "{}", {"current": _BUNDLE}),
    (f"{_LEGACY}.bundles:2", '{"access_model": "open"}', {"current": _EMPTY}),
    (f"{_LEGACY}.bundles:4", '{"access_model": "open"}', {"current": "<odd/>"}),
    ("urn:xmpp:omemo:2:devices", '{"access_model": "open"}', {"current": _DEVICES}),
    ("urn:xmpp:omemo:2:bundles", '{"access_model": "open"}', {"7": _NEW_BUNDLE}),
)


@pytest.fixture
def server(tmp_path: Path, forks: ForkServer) -> Any:
    """A server that has met other software: one list is for nobody, one node keeps too little."""
    made = Msgd(tmp_path / "data", accounts=[NewAccount("romeo"), NewAccount("juliet")], forks=forks)
    connection = sqlite3.connect(made.data / "msgd.sqlite")
    with connection:
        (id,) = connection.execute("SELECT id FROM account WHERE name = 'romeo'").fetchone()
        connection.execute("UPDATE account SET uses = 8 WHERE id = ?", (id,))
        for node, configuration, items in _NODES:
            connection.execute("INSERT INTO pubsub_node VALUES (?, ?, ?)", (id, node, configuration))
            for number, (item, xml) in enumerate(items.items()):
                row = (id, node, item, number, 0, len(xml), xml.encode())
                connection.execute("INSERT INTO pubsub_item VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text()


def test_keys_are_looked_at_and_put_right(server: Msgd) -> None:
    found = rows(server, "omemo romeo@localhost")
    columns = ("namespace", "device", "access", "prekeys", "remarks")
    assert [tuple(row[column] for column in columns) for row in found] == [
        (_LEGACY, "list", "open", None, "repaired: access_model whitelist → open"),
        (_LEGACY, "1", "presence", 5, "only contacts can read it"),
        (_LEGACY, "2", "open", 0, "no prekeys in the bundle"),
        (_LEGACY, "3", "", None, "no bundle: nobody can write to this device"),
        (_LEGACY, "4", "open", 0, "not in the list: left over"),
        ("urn:xmpp:omemo:2", "list", "open", None, "ok"),
        ("urn:xmpp:omemo:2", "7", "open", 1, "repaired: max_items 1 → max"),
    ]  # fmt: skip
    again = rows(server, "omemo romeo@localhost")
    assert not any("repaired" in row["remarks"] for row in again)


def test_who_has_none(server: Msgd) -> None:
    found = rows(server, "omemo juliet@localhost")
    assert [row["remarks"] for row in found] == ["no device list"] * 2
    assert rows(server, "nodes juliet@localhost") == []


def test_nodes_are_listed_without_what_is_in_them(server: Msgd) -> None:
    found = {row["node"]: row for row in rows(server, "nodes romeo@localhost")}
    assert found["urn:xmpp:omemo:2:bundles"] == {
        "node": "urn:xmpp:omemo:2:bundles", "access": "open", "items": 1,
        "bytes": len(_NEW_BUNDLE), "keeps": "max",
    }  # fmt: skip
    assert len(found) == len(_NODES)
