"""Nodes that are worth nothing unless they are configured rightly.

Clients that meet a wrong one give up: keys that a contact cannot read, bookmarks of which only the last one
is kept. `RULES` has what such nodes are when they are made. Their owner's publication options are carried out
there instead of being compared; a publication that does not speak of access puts it right; and what no
configuration can sensibly be is none, however it came into the database.
Sources: XEP-0384 §5 and its legacy namespace, XEP-0402 §4, XEP-0490 §4, XEP-0048 §4, XEP-0060 §7.1.5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from msgd.wire.errors import StanzaError
from msgd.xeps.pubsub.configuration import DEFAULT, MAX, Configuration, configured
from msgd.xeps.pubsub.errors import pubsub_error


class Rule(NamedTuple):
    """What the nodes of a name, or whose names begin so, are when they are made.

    `shared`: worth something only where others read it, so that no other access models are possible.
    """

    name: str
    configuration: Configuration
    prefix: bool = False
    shared: bool = False

    def fits(self, node: str) -> bool:
        """Whether the rule is for `node`."""
        return node.startswith(self.name) if self.prefix else node == self.name


_READ_BY_ALL: Final = Configuration(access_model="open")
_PRIVATE_LIST: Final = Configuration(
    access_model="whitelist", max_items=MAX, send_last_published_item="never"
)
#: The access models of shared nodes: contacts can read, at least.
_SHARED: Final = ("open", "presence")
RULES: Final = (
    # XEP-0384: whoever wants to write to somebody needs his keys first.
    Rule("eu.siacs.conversations.axolotl.devicelist", _READ_BY_ALL, shared=True),
    Rule("eu.siacs.conversations.axolotl.bundles:", _READ_BY_ALL, prefix=True, shared=True),
    Rule("urn:xmpp:omemo:2:devices", _READ_BY_ALL, shared=True),
    Rule("urn:xmpp:omemo:2:bundles", Configuration(access_model="open", max_items=MAX), shared=True),
    # XEP-0402 §4, XEP-0490 §4: one item for each conversation, the owner's alone.
    Rule("urn:xmpp:bookmarks:1", _PRIVATE_LIST),
    Rule("urn:xmpp:mds:displayed:0", _PRIVATE_LIST),
    # XEP-0048 §4.
    Rule("storage:bookmarks", Configuration(access_model="whitelist")),
)


def rule_for(node: str) -> Rule | None:
    """The rule for a node; most have none."""
    return next((rule for rule in RULES if rule.fits(node)), None)


def default(node: str) -> Configuration:
    """What a node of this name is when nothing else is said."""
    rule = rule_for(node)
    return rule.configuration if rule is not None else DEFAULT


def sound(node: str, configuration: Configuration) -> Configuration:
    """`configuration` with what the rule for `node` does not leave to anybody."""
    rule = rule_for(node)
    if rule is None:
        return configuration
    most = MAX if rule.configuration.max_items == MAX else configuration.max_items
    access = configuration.access_model
    if rule.shared and access not in _SHARED:
        access = rule.configuration.access_model
    return replace(configuration, persist_items=True, max_items=most, access_model=access)


def reconfigured(node: str, before: Configuration, values: dict[str, list[str]], most: int) -> Configuration:
    """The configuration of a node that its owner configures. Raises StanzaError."""
    wanted = configured(before, values, most)
    rule = rule_for(node)
    if rule is not None and rule.shared and wanted.access_model not in _SHARED:
        raise pubsub_error("not-acceptable", "unsupported-access-model", "contacts have to read these keys")
    return sound(node, wanted)


def agreed(node: str, before: Configuration, values: dict[str, list[str]], most: int) -> Configuration:
    """The configuration of a node that exists, published to with options (XEP-0060 §7.1.5).

    Raises StanzaError when they are not met, where no rule says that they are carried out instead.
    """
    rule = rule_for(node)
    if rule is None and not values:
        return before
    try:
        wanted = configured(before, values, most, strict=True)
    except StanzaError as error:
        if error.condition == "bad-request":
            raise
        raise _not_met() from None
    if rule is not None:
        if "access_model" not in values:
            wanted = replace(wanted, access_model=rule.configuration.access_model)
        return sound(node, wanted)
    if wanted != before:
        raise _not_met()
    return before


def _not_met() -> StanzaError:
    return pubsub_error("conflict", "precondition-not-met", "the node is configured otherwise")
