"""The subscription state machine: what a subscription stanza does to one contact of one account.

Pure functions over a small immutable state; nothing here sends or stores. `handshake.py` asks and
acts. Source: RFC 6121 Appendix A (the tables below carry its numbers) and §3.4 (pre-approval).
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

#: The types of presence stanzas that negotiate subscriptions (RFC 6121 §3).
SUBSCRIPTION_TYPES: Final = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})


class State(enum.Enum):
    """The nine states of RFC 6121 §A.1, as (subscription, pending out, pending in)."""

    NONE = ("none", False, False)
    NONE_OUT = ("none", True, False)
    NONE_IN = ("none", False, True)
    NONE_OUT_IN = ("none", True, True)
    TO = ("to", False, False)
    TO_IN = ("to", False, True)
    FROM = ("from", False, False)
    FROM_OUT = ("from", True, False)
    BOTH = ("both", False, False)

    @classmethod
    def of(cls, subscription: str, ask: bool, pending_in: bool) -> State:
        """The state of what is stored; a mark that means nothing any more is dropped.

        Raises ValueError when `subscription` is none of the four.
        """
        sees, seen = subscription in ("to", "both"), subscription in ("from", "both")
        return cls((subscription, ask and not sees, pending_in and not seen))

    @property
    def subscription(self) -> str:
        """'none', 'to', 'from' or 'both': the roster item's attribute (§2.1.2.5)."""
        return self.value[0]

    @property
    def ask(self) -> bool:
        """Pending out: the account asked and has no answer yet."""
        return self.value[1]

    @property
    def pending_in(self) -> bool:
        """Pending in: the contact asked and has no answer yet."""
        return self.value[2]

    @property
    def sees(self) -> bool:
        """The account is subscribed to the contact's presence."""
        return self.value[0] in ("to", "both")

    @property
    def seen(self) -> bool:
        """The contact is subscribed to the account's presence."""
        return self.value[0] in ("from", "both")


class Contact(NamedTuple):
    """All that the handshake knows of one contact.

    `approved`: a request of the contact will be granted without asking (§3.4). `listed`: there is a
    roster item; a mere request of the contact makes none (§3.1.3).
    """

    state: State = State.NONE
    approved: bool = False
    listed: bool = False

    @property
    def shown(self) -> tuple[bool, str, bool, bool]:
        """What a client sees of it; the roster is pushed when that changes (§2.6.3)."""
        return self.listed, self.state.subscription, self.state.ask, self.approved


class Outbound(NamedTuple):
    """What to do with a stanza of the account's own: the new state, and whether it is routed."""

    contact: Contact
    route: bool


class Inbound(NamedTuple):
    """What to do with a stanza of the contact's.

    The new state, whether the account's resources get the stanza, and the type of presence that is
    answered on behalf of the account, None for none.
    """

    contact: Contact
    deliver: bool
    reply: str | None


_S: Final = State
_ROUTE, _STAY = True, False
_DELIVER, _DROP = True, False

_OUTBOUND: Final[dict[str, dict[State, tuple[bool, State]]]] = {
    "subscribe": {  # table 2
        _S.NONE: (_ROUTE, _S.NONE_OUT),
        _S.NONE_OUT: (_ROUTE, _S.NONE_OUT),
        _S.NONE_IN: (_ROUTE, _S.NONE_OUT_IN),
        _S.NONE_OUT_IN: (_ROUTE, _S.NONE_OUT_IN),
        _S.TO: (_ROUTE, _S.TO),
        _S.TO_IN: (_ROUTE, _S.TO_IN),
        _S.FROM: (_ROUTE, _S.FROM_OUT),
        _S.FROM_OUT: (_ROUTE, _S.FROM_OUT),
        _S.BOTH: (_ROUTE, _S.BOTH),
    },
    "unsubscribe": {  # table 3
        _S.NONE: (_ROUTE, _S.NONE),
        _S.NONE_OUT: (_ROUTE, _S.NONE),
        _S.NONE_IN: (_ROUTE, _S.NONE_IN),
        _S.NONE_OUT_IN: (_ROUTE, _S.NONE_IN),
        _S.TO: (_ROUTE, _S.NONE),
        _S.TO_IN: (_ROUTE, _S.NONE_IN),
        _S.FROM: (_ROUTE, _S.FROM),
        _S.FROM_OUT: (_ROUTE, _S.FROM),
        _S.BOTH: (_ROUTE, _S.FROM),
    },
    "subscribed": {  # table 4; where nobody asked and nothing is granted it is a pre-approval
        _S.NONE: (_STAY, _S.NONE),
        _S.NONE_OUT: (_STAY, _S.NONE_OUT),
        _S.NONE_IN: (_ROUTE, _S.FROM),
        _S.NONE_OUT_IN: (_ROUTE, _S.FROM_OUT),
        _S.TO: (_STAY, _S.TO),
        _S.TO_IN: (_ROUTE, _S.BOTH),
        _S.FROM: (_STAY, _S.FROM),
        _S.FROM_OUT: (_STAY, _S.FROM_OUT),
        _S.BOTH: (_STAY, _S.BOTH),
    },
    "unsubscribed": {  # table 5; where nothing is taken back it may withdraw a pre-approval
        _S.NONE: (_STAY, _S.NONE),
        _S.NONE_OUT: (_STAY, _S.NONE_OUT),
        _S.NONE_IN: (_ROUTE, _S.NONE),
        _S.NONE_OUT_IN: (_ROUTE, _S.NONE_OUT),
        _S.TO: (_STAY, _S.TO),
        _S.TO_IN: (_ROUTE, _S.TO),
        _S.FROM: (_ROUTE, _S.NONE),
        _S.FROM_OUT: (_ROUTE, _S.NONE_OUT),
        _S.BOTH: (_ROUTE, _S.TO),
    },
}

_INBOUND: Final[dict[str, dict[State, tuple[bool, State, str | None]]]] = {
    "subscribe": {  # table 6
        _S.NONE: (_DELIVER, _S.NONE_IN, None),
        _S.NONE_OUT: (_DELIVER, _S.NONE_OUT_IN, None),
        _S.NONE_IN: (_DROP, _S.NONE_IN, None),
        _S.NONE_OUT_IN: (_DROP, _S.NONE_OUT_IN, None),
        _S.TO: (_DELIVER, _S.TO_IN, None),
        _S.TO_IN: (_DROP, _S.TO_IN, None),
        _S.FROM: (_DROP, _S.FROM, "subscribed"),
        _S.FROM_OUT: (_DROP, _S.FROM_OUT, "subscribed"),
        _S.BOTH: (_DROP, _S.BOTH, "subscribed"),
    },
    "unsubscribe": {  # table 7
        _S.NONE: (_DROP, _S.NONE, None),
        _S.NONE_OUT: (_DROP, _S.NONE_OUT, None),
        _S.NONE_IN: (_DELIVER, _S.NONE, "unsubscribed"),
        _S.NONE_OUT_IN: (_DELIVER, _S.NONE_OUT, "unsubscribed"),
        _S.TO: (_DROP, _S.TO, None),
        _S.TO_IN: (_DELIVER, _S.TO, "unsubscribed"),
        _S.FROM: (_DELIVER, _S.NONE, "unsubscribed"),
        _S.FROM_OUT: (_DELIVER, _S.NONE_OUT, "unsubscribed"),
        _S.BOTH: (_DELIVER, _S.TO, "unsubscribed"),
    },
    "subscribed": {  # table 8
        _S.NONE: (_DROP, _S.NONE, None),
        _S.NONE_OUT: (_DELIVER, _S.TO, None),
        _S.NONE_IN: (_DROP, _S.NONE_IN, None),
        _S.NONE_OUT_IN: (_DELIVER, _S.TO_IN, None),
        _S.TO: (_DROP, _S.TO, None),
        _S.TO_IN: (_DROP, _S.TO_IN, None),
        _S.FROM: (_DROP, _S.FROM, None),
        _S.FROM_OUT: (_DELIVER, _S.BOTH, None),
        _S.BOTH: (_DROP, _S.BOTH, None),
    },
    "unsubscribed": {  # table 9
        _S.NONE: (_DROP, _S.NONE, None),
        _S.NONE_OUT: (_DELIVER, _S.NONE, None),
        _S.NONE_IN: (_DROP, _S.NONE_IN, None),
        _S.NONE_OUT_IN: (_DELIVER, _S.NONE_IN, None),
        _S.TO: (_DELIVER, _S.NONE, None),
        _S.TO_IN: (_DELIVER, _S.NONE_IN, None),
        _S.FROM: (_DROP, _S.FROM, None),
        _S.FROM_OUT: (_DELIVER, _S.FROM, None),
        _S.BOTH: (_DELIVER, _S.FROM, None),
    },
}

#: Where "subscribed" is a pre-approval (§3.4.2), with the state to which it lets a request lead.
_GRANTED: Final = {
    State.NONE: State.FROM,
    State.NONE_OUT: State.FROM_OUT,
    State.TO: State.BOTH,
}


def outbound(type: str, contact: Contact) -> Outbound:
    """What a subscription stanza that the account sends to `contact` does (§A.2)."""
    route, state = _OUTBOUND[type][contact.state]
    approved = contact.approved
    if type == "subscribed":
        # §3.4.2: before anybody asked it is a pre-approval, and makes an item where there is none.
        approved = not route and (approved or contact.state in _GRANTED)
    elif type == "unsubscribed":
        approved = False
    listed = contact.listed or approved or state.subscription != "none" or state.ask
    return Outbound(Contact(state, approved, listed), route)


def inbound(type: str, contact: Contact) -> Inbound:
    """What a subscription stanza that `contact` sends to the account does (§A.3).

    A pre-approval grants one request: then it is used up, so that a contact who was taken off later
    asks anew (§3.4.2 leaves that to the server).
    """
    if type == "subscribe" and contact.approved and contact.state in _GRANTED:
        return Inbound(Contact(_GRANTED[contact.state], False, True), _DROP, "subscribed")
    deliver, state, reply = _INBOUND[type][contact.state]
    return Inbound(contact._replace(state=state), deliver, reply)


def removal(state: State) -> list[str]:
    """The types of the stanzas that tell a contact that its roster item was removed (§2.5.2).

    Requests that nobody answered end with it, in both directions.
    """
    types = []
    if state.sees or state.ask:
        types.append("unsubscribe")
    if state.seen or state.pending_in:
        types.append("unsubscribed")
    return types
