"""Whether an account's nodes are such that others can encrypt to it (XEP-0384), for the operator.

Both namespaces that are about. Read only here and for a person: to the server the nodes are like others, but
for `pubsub/rules.py`. What is shown are numbers of devices and keys, never a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from msgd.storage.database import Connection
from msgd.wire.xml import parse
from msgd.xeps.pubsub import store
from msgd.xeps.pubsub.configuration import MAX, Configuration
from msgd.xeps.pubsub.store import Item

_LEGACY: Final = "eu.siacs.conversations.axolotl"
_CURRENT: Final = "urn:xmpp:omemo:2"
#: What is wrong, or what the operator should know.
CONTACTS_ONLY: Final = "only contacts can read it"
NO_BUNDLE: Final = "no bundle: nobody can write to this device"
NO_PREKEYS: Final = "no prekeys in the bundle"
NOT_LISTED: Final = "not in the list: left over"
NO_LIST: Final = "no device list"
BROKEN: Final = "the item cannot be understood"


class Finding(NamedTuple):
    """One line: a list of devices (`device` is empty), or the bundle of one."""

    namespace: str
    device: str
    node: str
    access: str
    prekeys: int | None
    remarks: tuple[str, ...]


class _Nodes:
    """The nodes of one account, and what repairing them changed."""

    def __init__(self, connection: Connection, account_id: int) -> None:
        self.connection = connection
        self.account_id = account_id
        self.repaired = store.repair(connection, account_id)
        self.found = store.nodes(connection, account_id)

    def items(self, node: str) -> list[Item]:
        """All items of a node."""
        return store.newest(self.connection, self.account_id, node, -1) if node in self.found else []

    def finding(
        self, namespace: str, device: str, node: str, prekeys: int | None, remarks: list[str]
    ) -> Finding:
        """With what is to be said of the node itself."""
        configuration = self.found.get(node)
        before = self.repaired.get(node)
        if configuration is not None and before is not None:
            remarks = [*remarks, f"repaired: {_difference(before, configuration)}"]
        access = configuration.access_model if configuration is not None else ""
        if access == "presence":
            remarks = [*remarks, CONTACTS_ONLY]
        return Finding(namespace, device, node, access, prekeys, tuple(remarks))


def inspect(connection: Connection, account_id: int) -> list[Finding]:
    """What is there, what is wrong with it, and what has been put right just now (a job that writes)."""
    nodes = _Nodes(connection, account_id)
    prefix = f"{_LEGACY}.bundles:"
    legacy = {
        name.removeprefix(prefix): (name, next(iter(nodes.items(name)), None))
        for name in nodes.found
        if name.startswith(prefix)
    }
    shared = f"{_CURRENT}:bundles"
    current = {item.id: (shared, item) for item in nodes.items(shared)}
    return [
        *_namespace(nodes, _LEGACY, f"{_LEGACY}.devicelist", legacy, prefix + "{}"),
        *_namespace(nodes, _CURRENT, f"{_CURRENT}:devices", current, shared),
    ]


def _namespace(
    nodes: _Nodes, namespace: str, list_node: str, bundles: Mapping[str, tuple[str, Item | None]], name: str
) -> Iterator[Finding]:
    """The list of one namespace, the devices in it, and bundles without a device."""
    newest = next(iter(nodes.items(list_node)), None)
    devices = _devices(newest)
    remarks = [NO_LIST] if newest is None else [BROKEN] if devices is None else []
    yield nodes.finding(namespace, "", list_node, None, remarks)
    for device in devices or ():
        node, item = bundles.get(device, (name.format(device), None))
        prekeys = _prekeys(item)
        remarks = [NO_BUNDLE] if item is None else [BROKEN] if prekeys is None else []
        if prekeys == 0:
            remarks = [NO_PREKEYS]
        yield nodes.finding(namespace, device, node, prekeys, remarks)
    for device in bundles.keys() - set(devices or ()):
        node, item = bundles[device]
        yield nodes.finding(namespace, device, node, _prekeys(item), [NOT_LISTED])


def _devices(item: Item | None) -> list[str] | None:
    """The ids in a device list; None when it is none."""
    tree = _tree(item)
    if tree is None:
        return None
    return [each.get("id", "") for each in tree.iter() if _name(each) == "device"]


def _prekeys(item: Item | None) -> int | None:
    """How many keys for first messages a bundle has left; None when it is none."""
    tree = _tree(item)
    if tree is None:
        return None
    return sum(1 for each in tree.iter() if _name(each) in ("preKeyPublic", "pk"))


def _tree(item: Item | None) -> Element | None:
    try:
        return parse(item.xml) if item is not None and item.xml else None
    except (ParseError, IndexError):
        return None


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _difference(before: Configuration, after: Configuration) -> str:
    changes = []
    for name in ("access_model", "persist_items", "max_items"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            changes.append(f"{name} {old} → {'max' if name == 'max_items' and new == MAX else new}")
    return ", ".join(changes)
