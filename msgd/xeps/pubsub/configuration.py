"""What a node is like: its options, the forms in which clients read and write them, and the defaults.

Source: XEP-0060 §8.2 and §16.4.4, XEP-0163 §5 (defaults).

Nodes with certain names are something else when nobody configures them: `rules.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Final
from xml.etree.ElementTree import Element

from msgd.wire.errors import StanzaError
from msgd.wire.xml import element
from msgd.xeps.data_forms import FORM_TYPE, read_form, result_form
from msgd.xeps.data_forms import NAMESPACE as FORMS
from msgd.xeps.pubsub.errors import pubsub_error

NODE_CONFIG: Final = "http://jabber.org/protocol/pubsub#node_config"
PUBLISH_OPTIONS: Final = "http://jabber.org/protocol/pubsub#publish-options"
METADATA: Final = "http://jabber.org/protocol/pubsub#meta-data"
_PREFIX: Final = "pubsub#"
#: As many items as the server keeps in one node (XEP-0060 §8.2, `max`).
MAX: Final = 0
#: Characters of a title, description or type.
_LONGEST_TEXT: Final = 1023
#: Roster groups that may read a node.
_MOST_GROUPS: Final = 50


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options of one node; `max_items` is `MAX` or a number."""

    access_model: str = "presence"
    max_items: int = 1
    persist_items: bool = True
    send_last_published_item: str = "on_sub_and_presence"
    deliver_notifications: bool = True
    deliver_payloads: bool = True
    notify_config: bool = False
    notify_delete: bool = True
    notify_retract: bool = True
    notification_type: str = "headline"
    roster_groups_allowed: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    type: str = ""

    def stored(self) -> str:
        """What differs from the defaults, as JSON."""
        return json.dumps({k: v for k, v in asdict(self).items() if v != getattr(DEFAULT, k)})


DEFAULT: Final = Configuration()
_CHOICES: Final = {
    "access_model": ("presence", "open", "roster", "whitelist"),
    "send_last_published_item": ("on_sub_and_presence", "on_sub", "never"),
    "notification_type": ("headline", "normal"),
}
#: What can be had in one way only.
_FIXED: Final = {
    "publish_model": ("publishers",),
    "presence_based_delivery": ("0", "false"),
    "purge_offline": ("0", "false"),
    "itemreply": ("owner",),
    "subscribe": ("1", "true"),
    "notify_sub": ("0", "false"),
    "node_type": ("leaf",),
    "item_expire": ("max", "0"),
    "tempsub": ("0", "false"),
}
_BOOLEANS: Final = {"1": True, "true": True, "0": False, "false": False}
_OPTIONS: Final = {option.name: getattr(DEFAULT, option.name) for option in fields(Configuration)}


def loaded(stored: str) -> Configuration:
    """The configuration that was `stored`; `rules.sound` says whether it may be so."""
    found = json.loads(stored)
    if "roster_groups_allowed" in found:
        found["roster_groups_allowed"] = tuple(found["roster_groups_allowed"])
    return replace(DEFAULT, **found)


# -- forms -----------------------------------------------------------------------------------------


def submitted(form: Element | None, form_type: str) -> dict[str, list[str]]:
    """The options of a submitted form, by their names without the prefix. Raises StanzaError."""
    if form is None:
        raise StanzaError("bad-request", "a form is wanted")
    values = read_form(form)
    kinds = values.pop(FORM_TYPE, [form_type])
    if kinds != [form_type]:
        raise pubsub_error("bad-request", "invalid-options", "another FORM_TYPE is wanted")
    return {var.removeprefix(_PREFIX): found for var, found in values.items()}


def configured(
    before: Configuration, values: dict[str, list[str]], most: int, strict: bool = False
) -> Configuration:
    """`before` with the options in `values`; a node keeps at most `most` items.

    Options nobody here knows are passed over, unless `strict`. Raises StanzaError.
    """
    changes: dict[str, object] = {}
    for name, found in values.items():
        if name in _OPTIONS:
            changes[name] = _read(name, found, most)
        elif name in _FIXED:
            if [value for value in found if value not in _FIXED[name]]:
                raise StanzaError("not-acceptable", f"{name} is always {_FIXED[name][-1]}")
        elif strict:
            raise pubsub_error("bad-request", "invalid-options", "there is no such option")
    return replace(before, **changes)  # type: ignore[arg-type]  # each was read as its kind


def _read(name: str, found: list[str], most: int) -> object:
    """The value of one option."""
    kind = _OPTIONS[name]
    if isinstance(kind, tuple):
        if len(found) > _MOST_GROUPS or any(len(value) > _LONGEST_TEXT for value in found):
            raise StanzaError("not-acceptable", f"{name} is too long")
        return tuple(found)
    value = found[0].strip() if found else ""
    if name == "max_items":
        return _number(value, most)
    if isinstance(kind, bool):
        if value not in _BOOLEANS:
            raise StanzaError("bad-request", f"{name} is true or false")
        return _BOOLEANS[value]
    if name in _CHOICES and value not in _CHOICES[name]:
        if name == "access_model":
            raise pubsub_error(
                "not-acceptable", "unsupported-access-model", "nobody approves subscriptions here"
            )
        raise StanzaError("not-acceptable", f"{name} is one of {', '.join(_CHOICES[name])}")
    if len(value) > _LONGEST_TEXT:
        raise StanzaError("not-acceptable", f"{name} is too long")
    return value


def _number(value: str, most: int) -> int:
    """More items than the server keeps are as many as it keeps."""
    if value == "max":
        return MAX
    if not (value.isascii() and value.isdigit()):
        raise StanzaError("bad-request", "max_items is a number, or 'max'")
    if not value.strip("0"):
        raise StanzaError("not-acceptable", "a node keeps at least one item, or persist_items is false")
    return MAX if len(value) > len(str(most)) or int(value) >= most else int(value)


def form(configuration: Configuration) -> Element:
    """The form in which the owner configures a node (§8.2.2)."""
    made = element(FORMS, "x", {"type": "form"})
    made.append(_field(FORM_TYPE, "hidden", [NODE_CONFIG]))
    for name, kind in _OPTIONS.items():
        value = getattr(configuration, name)
        var = _PREFIX + name
        if isinstance(kind, bool):
            made.append(_field(var, "boolean", ["1" if value else "0"]))
        elif isinstance(kind, tuple):
            made.append(_field(var, "list-multi", list(value), list(value)))
        elif name in _CHOICES:
            made.append(_field(var, "list-single", [value], list(_CHOICES[name])))
        elif name == "max_items":
            made.append(_field(var, "text-single", ["max" if value == MAX else str(value)]))
        else:
            made.append(_field(var, "text-single", [value]))
    made.append(_field(_PREFIX + "publish_model", "list-single", ["publishers"], ["publishers"]))
    return made


def metadata(configuration: Configuration, owner: str) -> Element:
    """What everybody who may read a node is told of it (§5.4)."""
    fields = {
        "creator": owner,
        "owner": owner,
        "publisher": owner,
        "title": configuration.title,
        "description": configuration.description,
        "type": configuration.type,
        "access_model": configuration.access_model,
        "publish_model": "publishers",
        "max_items": "max" if configuration.max_items == MAX else str(configuration.max_items),
    }
    return result_form(METADATA, {_PREFIX + name: [value] for name, value in fields.items() if value})


def _field(var: str, type: str, values: list[str], options: list[str] | None = None) -> Element:
    field = element(FORMS, "field", {"var": var, "type": type})
    for option in options or ():
        field.append(element(FORMS, "option", None, element(FORMS, "value", None, option)))
    for value in values:
        field.append(element(FORMS, "value", None, value))
    return field
