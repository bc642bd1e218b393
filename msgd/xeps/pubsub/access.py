"""Who may read a node: the access models (XEP-0060 §4.5), as XEP-0163 §5 wants them.

The owner is allowed everything, and nobody else writes.
"""

from __future__ import annotations

from typing import NamedTuple

from msgd.wire.errors import StanzaError
from msgd.xeps.pubsub.configuration import Configuration
from msgd.xeps.pubsub.errors import pubsub_error


class Standing(NamedTuple):
    """What somebody is to the owner of a node.

    `subscribed`: he sees the owner's presence; `groups`: those of the owner's roster he is in; `affiliation`:
    'owner', 'member', 'outcast' or 'none'.
    """

    subscribed: bool = False
    groups: tuple[str, ...] = ()
    affiliation: str = "none"


OWNER = Standing(True, (), "owner")


def refusal(configuration: Configuration, standing: Standing) -> StanzaError | None:
    """Why somebody may not read a node (§6.1.3, §6.5.9); None when he may."""
    model, affiliation = configuration.access_model, standing.affiliation
    if affiliation == "outcast":
        return StanzaError("forbidden")
    if affiliation != "none" or model == "open":
        return None
    if model == "whitelist":
        return pubsub_error("not-allowed", "closed-node")
    if not standing.subscribed:
        return pubsub_error("not-authorized", "presence-subscription-required")
    if model == "roster" and not set(standing.groups) & set(configuration.roster_groups_allowed):
        return pubsub_error("not-authorized", "not-in-roster-group")
    return None


def readable(configuration: Configuration, standing: Standing) -> bool:
    """Whether somebody may read a node."""
    return refusal(configuration, standing) is None
