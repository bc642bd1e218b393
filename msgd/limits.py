"""Every limit on size, count, rate and time, each with its reason.

Those an operator may change are options (sections of the configuration, see `options`); the others are
named constants beside the code that keeps them, and are listed here by name. No limit is unlimited: a
stranger costs little, an account a bounded amount, and what does not fit is refused with the error that
the specification has for it.

Beside their code: addresses, 1023 octets for each part (RFC 7622 §3.2; `wire/jid.py`) · account names, 255
octets (`accounts/accounts.py`) · buckets of failed logins remembered, 20,000 (`accounts/throttle.py`) ·
password computations waiting, 100 (`accounts/accounts.py`) ·
contacts of an account, 5,000, groups of a contact, 50, characters of a name, 1,023 (`routing/roster.py`) ·
removed contacts remembered, 200 (`routing/roster_store.py`) · subscription requests that wait for an account,
200 of 4 KiB, and steps of its handshakes at a time, 1,000 (`routing/handshake.py`) · addresses with directed
presence of a session, 1,000 (`routing/presence.py`) · bytes that wait for a component, 4 MiB, for answers to
it 16 MiB, and the time in which it takes nothing, 60 seconds (`routing/component.py`) · connections without a
handshake, 100, and wrong ones for a component, 10 and then one each 30 seconds (`components.py`) ·
kinds of clients, 5,000, and nodes that one wants to hear of, 100 (`xeps/client_capabilities.py`) · names of
nodes and items, 1,023 characters, subscriptions, members and outcasts of a node, 1,000
(`xeps/pubsub/service.py`) · pushes on their way to one app server, 500, registrations that wait for it,
10,000 (`xeps/push/publisher.py`), characters of a node there, 1,023, of the form that goes with it, 4,096
(`xeps/xep_0357_push.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgd.options import option

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may ask of the server."""

    stanza_size: int = option(
        256 * 1024,
        """The largest stanza of a client. RFC 6120 §13.12 wants at least 10,000 bytes; 256 KiB is
        what clients know from other servers, and holds any avatar or key bundle.""",
        unit="bytes",
        minimum=10_000,
        maximum=16 * MEBIBYTE,
    )
    stanza_elements: int = option(
        5000,
        """The most elements in one stanza. Small elements take many times their size in memory; a
        large roster or key bundle has some hundred.""",
        unit="elements",
        minimum=32,
        maximum=100_000,
    )
    stranger_size: int = option(
        8192,
        """The largest element before login. Negotiation needs far less, and what is refused early
        costs nothing.""",
        unit="bytes",
        minimum=2048,
        maximum=256 * 1024,
    )
    stranger_elements: int = option(
        32,
        "The most elements in one element before login; in-band registration has the largest.",
        unit="elements",
        minimum=8,
        maximum=1000,
    )
    negotiation_time: int = option(
        60,
        """A connection that is not logged in after this time is closed. A phone on a slow network
        needs some seconds; whoever holds a connection without using it should not hold it long.""",
        unit="seconds",
        minimum=5,
        maximum=600,
    )
    strangers: int = option(
        4096,
        """The most connections that are not logged in yet. About 30 KiB each: the bound on what
        strangers can take of the memory.""",
        unit="connections",
        minimum=1,
    )
    strangers_per_address: int = option(
        256,
        """The most of these from one address; 0: no limit. Many phones can be behind one address,
        and after a restart they all come at once.""",
        unit="connections",
    )
    bytes_per_second: int = option(
        0,
        """What a client may send on average; 0: no limit. More is read later, nothing is lost.""",
        unit="bytes per second",
        maximum=1024 * MEBIBYTE,
    )
    burst: int = option(
        MEBIBYTE,
        """What a client may send at once before `bytes_per_second` counts: coming back from a
        tunnel is no attack.""",
        unit="bytes",
        minimum=64 * 1024,
        maximum=1024 * MEBIBYTE,
    )
    blocked: int = option(
        1000,
        """Addresses that one account may block (XEP-0191). They are in memory while the account is, some
        100 bytes each, and every stanza is compared with them.""",
        unit="addresses",
        maximum=100_000,
    )
    first_contacts: int = option(
        60,
        """Strangers that an account may write to, or ask for a subscription, in an hour: addresses that do
        not share presence with it and have not written to it; 0: no limit. Nobody makes so many
        acquaintances; who sends spam needs thousands. Messages to one of them are not counted. The same for
        each address elsewhere that writes to accounts here.""",
        unit="addresses",
        maximum=100_000,
    )
    first_contacts_from_domain: int = option(
        500,
        """Accounts of this server that all the people of another domain together may write to first, or ask
        for a subscription, in an hour; each of them may write to as many as people here (`first_contacts`).
        People who share presence, or to whom the account wrote, do not count, nor do components. Fewer get
        to know each other even between large servers; with more somebody could address thousands of
        accounts from a domain of his own. 0: no limit.""",
        unit="accounts",
        maximum=1_000_000,
    )
    remembered_accounts: int = option(
        10_000,
        """Accounts kept in memory after their last session ended (roster and all, some KiB each), so
        that messages to the absent do not ask the database each time.""",
        unit="accounts",
        minimum=100,
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class Overload:
    """When the server counts as overloaded. Strangers wait then, and get less time; sessions do not."""

    lateness: int = option(
        100,
        """By how much the server comes late to what is due. All that a busy server has to do in one turn
        takes some ten.""",
        unit="milliseconds",
        minimum=10,
        maximum=10_000,
    )
    memory: int = option(
        0,
        "Memory of the process from which on it is overloaded; 0: three quarters of what the machine has.",
        unit="MiB",
        maximum=1024 * MEBIBYTE,
    )
    negotiation_time: int = option(
        10,
        """What `limits.negotiation_time` is while places for strangers or memory are short: who holds a
        connection and does not use it makes room.""",
        unit="seconds",
        minimum=2,
        maximum=600,
    )


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of one account (RFC 6120 §7)."""

    most_resources: int = option(
        10,
        """Resources that an account may have at once, those waiting to be resumed included. Phone,
        tablet, desktop and some forgotten ones: each costs a copy of what is sent to all.""",
        unit="resources",
        minimum=1,
        maximum=1000,
    )
    conflict: str = option(
        "replace",
        """When a resource is in use already (RFC 6120 §7.7.2.2): "replace" ends the older session, which
        mostly is a dead connection of the same client; "refuse" keeps it; "rename" gives the new one
        another name.""",
        choices=("replace", "refuse", "rename"),
    )


@dataclass(frozen=True, slots=True)
class StreamManagement:
    """Acknowledgement and resumption (XEP-0198)."""

    resume: int = option(
        600,
        """How long a session waits for its client after the connection is lost; 0: not at all. For that
        long the contacts see it as present; messages are stored either way.""",
        unit="seconds",
        maximum=7 * 86400,
        restart=True,
    )
    answer_time: int = option(
        30,
        """How long a client may owe the answer to a request for acknowledgement while it sends nothing else.
        Then it is taken for asleep (and may be woken by a push); after three times that long its connection
        is given up, and the session waits to be resumed.""",
        unit="seconds",
        minimum=1,
        maximum=3600,
    )
    most_queued: int = option(
        1000,
        """Stanzas sent to a client that it did not acknowledge yet. When there are so many, messages
        stay in the store until it acknowledges some.""",
        unit="stanzas",
        minimum=10,
        maximum=100_000,
    )
    location: str = option(
        "",
        """Where clients should reconnect to resume, as "host:port"; empty: where they came from. For
        several servers behind one name.""",
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class Spool:
    """The store of messages that are not delivered yet (XEP-0160)."""

    window: int = option(
        20,
        """How long a message waits for others to be written with it. The sender's acknowledgement waits
        as long, its delivery does not. What the recipient acknowledges in this time needs no disk. Where
        no acknowledgement is waited for it is five times as long, over links to other servers ten times.""",
        unit="milliseconds",
        minimum=1,
        maximum=1000,
    )
    batch: int = option(
        500,
        "So many messages are written without waiting any longer.",
        unit="messages",
        minimum=1,
        maximum=100_000,
        restart=True,
    )
    most_messages: int = option(
        10_000,
        """Messages kept for one account; what comes then goes back to its sender with an error. Some
        months of a person's mail, and a flood still fits on the disk.""",
        unit="messages",
        minimum=1,
        restart=True,
    )
    most_bytes: int = option(
        50 * MEBIBYTE,
        "The size of the messages kept for one account.",
        unit="bytes",
        minimum=256 * 1024,
        restart=True,
    )
    expire_days: int = option(
        90,
        """Messages that nobody fetched are deleted after this time, and their senders are told; 0: never.
        Whoever was away for a season finds everything.""",
        unit="days",
        maximum=3650,
    )


@dataclass(frozen=True, slots=True)
class Federation:
    """Links to other servers. They always speak TLS."""

    enabled: bool = option(
        True, "Exchange messages with other servers; else their addresses do not exist.", restart=True
    )
    allow: tuple[str, ...] = option(
        (), """The only domains to have links with; "*.example.org" are all below it. Empty: all."""
    )
    block: tuple[str, ...] = option(
        (), "Domains to have no links with, written likewise. Those that are there end on a reload."
    )
    dialback: tuple[str, ...] = option(
        (),
        """Domains whose servers need no certificate that proves who they are: that DNS leads to them is
        enough (XEP-0220). Who can forge DNS can then pretend to be them. "*" are all.""",
    )
    authorities: Path | None = option(
        None,
        "A file with the authorities that vouch for other servers (PEM). Empty: those of the system.",
    )
    resolvers: tuple[str, ...] = option(
        (),
        """DNS servers to ask, as "address" or "address:port". Empty: those of the system.""",
        restart=True,
    )
    private_addresses: bool = option(
        False,
        """Connect to addresses in private networks and on this machine, when DNS leads there. Strangers
        write into DNS what they like, and may so reach what is not meant for them.""",
    )
    lifetime: int = option(
        48,
        """How long messages to a server that cannot be reached are kept and tried again; then they come
        back with an error.""",
        unit="hours",
        minimum=1,
        maximum=24 * 30,
    )
    notice: int = option(
        30,
        """After how long those whose messages wait for a server are told so, once for each outage, when they
        are there; 0: never.""",
        unit="minutes",
        maximum=60 * 24 * 30,
    )
    patience: int = option(
        20,
        """How long presence and questions wait for a link that is being made; nobody keeps them longer.""",
        unit="seconds",
        minimum=1,
        maximum=120,
    )
    attempt_time: int = option(
        60,
        "How long one attempt to make a link may take, with all addresses of a server.",
        unit="seconds",
        minimum=5,
        maximum=600,
    )
    idle: int = option(
        900,
        "A link on which nothing is sent for so long is closed; the next stanza opens another.",
        unit="seconds",
        minimum=10,
        maximum=86400,
    )
    resume: int = option(
        300,
        """How long a link that broke can be resumed by the other server (XEP-0198); 0: not at all.""",
        unit="seconds",
        maximum=86400,
    )
    most_messages: int = option(
        10_000,
        """Messages that wait for one domain; what comes then is returned at once. A room in another
        place that is down for a night, and a flood still fits on the disk.""",
        unit="messages",
        minimum=10,
    )
    most_bytes: int = option(
        50 * MEBIBYTE,
        "The size of the messages that wait for one domain.",
        unit="bytes",
        minimum=MEBIBYTE,
    )
    stanza_size: int = option(
        512 * 1024,
        """The largest stanza of another server: twice that of a client, as servers add to what they
        forward.""",
        unit="bytes",
        minimum=10_000,
        maximum=16 * MEBIBYTE,
    )
    bytes_per_second: int = option(
        0,
        """What the servers of one domain may send on average; 0: no limit. More is read later, nothing is
        lost.""",
        unit="bytes per second",
        maximum=1024 * MEBIBYTE,
    )
    incoming: int = option(
        10,
        "Streams that one domain may have to this server at a time; a usual one has one or two.",
        unit="streams",
        minimum=1,
        maximum=1000,
    )


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of messages, from and to each account (XEP-0313). Groups have archives of their own."""

    default: str = option(
        "never",
        """What is archived for accounts that did not say what they want (XEP-0441): "never" nothing,
        "always" all messages, "roster" those with contacts. Many clients have a switch for it.""",
        choices=("never", "roster", "always"),
        restart=True,
    )
    days: int = option(
        365,
        "Archived messages are deleted when they are older; 0: never.",
        unit="days",
        maximum=36500,
    )
    most_per_page: int = option(
        100,
        """Messages that a client gets in answer to one query, however many it asks for; it asks again for
        the next. A screenful for a person; a page of 1 MiB ends earlier.""",
        unit="messages",
        minimum=10,
        maximum=1000,
    )
    most_rules: int = option(
        500,
        """Addresses that an account may say are always, or never, archived. They are in memory while it is
        logged in.""",
        unit="addresses",
        maximum=10_000,
    )


@dataclass(frozen=True, slots=True)
class Ping:
    """Silent clients are pinged (XEP-0199), so that dead connections are found."""

    interval: int = option(
        300,
        """A client that was not heard for so long gets a ping; 0: never. Shorter wakes up phones, longer
        leaves messages with a connection that is dead.""",
        unit="seconds",
        maximum=86400,
    )
    timeout: int = option(
        60,
        "A client that answers nothing for so long is taken for gone.",
        unit="seconds",
        minimum=5,
        maximum=3600,
    )


@dataclass(frozen=True, slots=True)
class PrivateStorage:
    """Private XML storage (XEP-0049), for each account."""

    pieces: int = option(
        100,
        "Elements with different names; clients use less than ten.",
        unit="elements",
        minimum=1,
        maximum=10_000,
    )
    size: int = option(
        MEBIBYTE,
        "The size of all of them: bookmarks of thousands of rooms fit in.",
        unit="bytes",
        minimum=10_000,
        maximum=64 * MEBIBYTE,
    )


@dataclass(frozen=True, slots=True)
class VCard:
    """vCards (XEP-0054)."""

    size: int = option(
        128 * 1024,
        """The largest vCard. Its photo should have at most 64 KiB (XEP-0153), which is 86 KiB as
        base64.""",
        unit="bytes",
        minimum=1000,
        maximum=MEBIBYTE,
    )


@dataclass(frozen=True, slots=True)
class PubSub:
    """Personal eventing (XEP-0163), for each account."""

    nodes: int = option(
        500,
        """Nodes of an account. Clients use some twenty, and one more for each device that encrypts.""",
        unit="nodes",
        minimum=10,
        maximum=10_000,
    )
    items: int = option(
        1000,
        """Items that a node keeps where `max` is asked for; the oldest go. Bookmarks and read marks have one
        for each conversation.""",
        unit="items",
        minimum=10,
        maximum=100_000,
    )
    size: int = option(
        20 * MEBIBYTE,
        "All items of an account together: some hundred large avatars, or years of bookmarks.",
        unit="bytes",
        minimum=MEBIBYTE,
        maximum=1024 * MEBIBYTE,
    )


@dataclass(frozen=True, slots=True)
class Push:
    """Push notifications (XEP-0357): app servers are told that messages wait for a sleeping phone."""

    registrations: int = option(
        20,
        """App servers that one account may have told: one for each device, and some that were lost.""",
        unit="registrations",
        minimum=1,
        maximum=1000,
    )
    hibernation: int = option(
        86400,
        """How long the session of a device that can be woken by a push waits for it, where that is longer
        than `stream_management.resume`; 0: no longer than others. Phones that sleep come back when a push
        wakes them up; what they missed of presence and groups is there only if their session still is.""",
        unit="seconds",
        maximum=7 * 86400,
    )
    tells: str = option(
        "count",
        """What a push says: "count" how many messages wait, "sender" also from whom the last is, "body" also
        what it says, where it is not encrypted. App servers and the makers of phones read it.""",
        choices=("count", "sender", "body"),
    )
    text: str = option(
        "",
        """What stands in the place of the text where that is not told, for app servers that show something
        only if there is one: "New message"; empty: nothing.""",
    )
