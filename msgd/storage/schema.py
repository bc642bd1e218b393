"""The schema: every table of msgd, once, for every database engine.

The code that uses a table writes its statements beside itself with SQLAlchemy Core on these objects;
`msgd.storage.migrations` brings a database to this state. Rules that hold for all tables:

* The key begins with the account, so that the data can be sharded by it, and whatever belongs to an
  account goes with it (`ON DELETE CASCADE`).
* Times are whole seconds since 1970 (UTC) unless said otherwise.
* Defaults are the database's (`server_default`): statements do not pass through SQLAlchemy's execution,
  so defaults of Python would not be applied.
* Passwords are never here; `credential` holds SCRAM verifiers (RFC 5802 §3).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared exactly INTEGER.
_row_number = BigInteger().with_variant(Integer(), "sqlite")


def _account_key() -> Column[int]:
    """The account a row belongs to, as the first column of the primary key."""
    return Column(
        "account_id",
        BigInteger,
        ForeignKey("account.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )


#: One row for each account. `domain` and `name` are prepared (RFC 7622). The number of a deleted account
#: is never given to another, so nothing kept under it can reach a stranger.
account = Table(
    "account",
    metadata,
    Column("id", _row_number, primary_key=True, autoincrement=True),
    Column("domain", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("password_changed", BigInteger, nullable=False, server_default=text("0")),
    # XEP-0012: when the last session of the account ended, and what it said when it left.
    Column("last_active", BigInteger, nullable=False, server_default=text("0")),
    Column("last_status", Text, nullable=False, server_default=text("''")),
    # What the account uses beyond the core: the bits of `msgd.accounts.uses.Uses`.
    Column("uses", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("domain", "name"),
    sqlite_autoincrement=True,
)

#: SCRAM verifiers, one for each mechanism ("SCRAM-SHA-256" …), RFC 5802 §3.
credential = Table(
    "credential",
    metadata,
    _account_key(),
    Column("mechanism", Text, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("stored_key", LargeBinary, nullable=False),
    Column("server_key", LargeBinary, nullable=False),
)

#: Messages of an account, each once: what waits until it is acknowledged (`waiting`), what its archive keeps
#: (`archived`, XEP-0313), or both. `id` is ordered by time of acceptance and is the XEP-0359 stanza-id, in
#: the archive too; `size` is what counted against the quota, in bytes, `checksum` is over `stanza`. Archived
#: rows: `sent` by the account itself, `peer` and `peer_resource` are the address of the other side, and
#: `message` the id its sender gave it, by which it can be retracted (XEP-0424).
spool = Table(
    "spool",
    metadata,
    _account_key(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Column("stanza", LargeBinary, nullable=False),
    Column("waiting", Boolean, nullable=False, server_default=true()),
    Column("archived", Boolean, nullable=False, server_default=false()),
    Column("sent", Boolean, nullable=False, server_default=false()),
    Column("peer", Text, nullable=False, server_default=text("''")),
    Column("peer_resource", Text, nullable=False, server_default=text("''")),
    Column("message", Text, nullable=False, server_default=text("''")),
)

#: The conditions of the partial indexes, as statements have to name them.
WAITING = spool.c.waiting.is_(true())
ARCHIVED = spool.c.archived.is_(true())

# What waits, among however much that does not.
Index("ix_spool_waiting", spool.c.account_id, spool.c.id, sqlite_where=WAITING, postgresql_where=WAITING)
# An archive by the other side, and how much there is of it.
Index(
    "ix_spool_archived",
    spool.c.account_id,
    spool.c.peer,
    spool.c.id,
    sqlite_where=ARCHIVED,
    postgresql_where=ARCHIVED,
)

#: What an account said of its archive (XEP-0441): "always", "never" or "roster", and JSON lists of addresses.
#: An account without a row is archived as the operator's option says.
archive_preference = Table(
    "archive_preference",
    metadata,
    _account_key(),
    Column("default", Text, nullable=False),
    Column("always", Text, nullable=False, server_default=text("'[]'")),
    Column("never", Text, nullable=False, server_default=text("'[]'")),
)

#: Spool rows whose bytes no longer match their checksum, set aside for the operator.
spool_corrupt = Table(
    "spool_corrupt",
    metadata,
    _account_key(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("stanza", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("found", BigInteger, nullable=False),
)

#: Contacts (RFC 6121 §2). `groups` is a JSON list of names. Rows with subscription "remove" are what is
#: left of removed contacts, so that roster versioning (§2.6) can tell a client of the removal.
roster_item = Table(
    "roster_item",
    metadata,
    _account_key(),
    Column("jid", Text, primary_key=True),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("groups", Text, nullable=False, server_default=text("'[]'")),
    Column("subscription", Text, nullable=False, server_default=text("'none'")),
    Column("ask", Boolean, nullable=False, server_default=false()),
    Column("approved", Boolean, nullable=False, server_default=false()),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
)

#: The version of an account's whole roster (RFC 6121 §2.6). What changed after `horizon` is known, older
#: removals may have been forgotten.
roster_version = Table(
    "roster_version",
    metadata,
    _account_key(),
    Column("version", BigInteger, nullable=False),
    Column("horizon", BigInteger, nullable=False, server_default=text("0")),
)

#: Subscription requests waiting for the account's answer ("pending in", RFC 6121 §3.1.3).
subscription_request = Table(
    "subscription_request",
    metadata,
    _account_key(),
    Column("jid", Text, primary_key=True),
    Column("stanza", LargeBinary, nullable=False),
    Column("received", BigInteger, nullable=False),
)

#: Private XML storage (XEP-0049), one row for each expanded element name.
private_xml = Table(
    "private_xml",
    metadata,
    _account_key(),
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("xml", LargeBinary, nullable=False),
)

#: The vCard of an account (XEP-0054).
vcard = Table(
    "vcard",
    metadata,
    _account_key(),
    Column("xml", LargeBinary, nullable=False),
)

#: The nodes of an account (XEP-0163). `configuration` is JSON: what differs from the defaults.
pubsub_node = Table(
    "pubsub_node",
    metadata,
    _account_key(),
    Column("name", Text, primary_key=True),
    Column("configuration", Text, nullable=False),
)

#: What is published there. `number` gives the order in a node, `published` is in seconds since 1970.
pubsub_item = Table(
    "pubsub_item",
    metadata,
    _account_key(),
    Column("node", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("xml", LargeBinary, nullable=False),
    Index(None, "account_id", "node", "number"),
)

#: Who is a member of a node, or banned from it. The account itself owns all of its nodes.
pubsub_affiliation = Table(
    "pubsub_affiliation",
    metadata,
    _account_key(),
    Column("node", Text, primary_key=True),
    Column("jid", Text, primary_key=True),
    Column("affiliation", Text, nullable=False),
)

#: Subscriptions that somebody asked for; those of who sees the account's presence need no row.
pubsub_subscription = Table(
    "pubsub_subscription",
    metadata,
    _account_key(),
    Column("node", Text, primary_key=True),
    Column("jid", Text, primary_key=True),
)

#: What clients want to be told (XEP-0115, XEP-0163 §4.2), by the verified hash of all they can do: a JSON
#: list of nodes. `used` is in seconds since 1970; the table is bounded.
client_capabilities = Table(
    "client_capabilities",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("wanted", Text, nullable=False),
    Column("used", BigInteger, nullable=False),
    Index(None, "used"),
)

#: Stream-management sessions kept over a graceful restart (XEP-0198 §5), by resumption id.
stream_session = Table(
    "stream_session",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "account_id",
        BigInteger,
        ForeignKey("account.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("resource", Text, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index(None, "account_id"),
)

#: The server's own secrets, made when first asked for (`msgd.storage.secret`).
secret = Table(
    "secret",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

#: XEP-0357: which app servers are told that messages wait. `resource` is the device that asked for it,
#: `options` JSON: the fields of the form that goes with each push, secrets among them. `disabled` is 0, or
#: when the app server's `answer` ended it.
push_registration = Table(
    "push_registration",
    metadata,
    _account_key(),
    Column("jid", Text, primary_key=True),
    Column("node", Text, primary_key=True),
    Column("resource", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("enabled", BigInteger, nullable=False),
    Column("disabled", BigInteger, nullable=False, server_default=text("0")),
    Column("answer", Text, nullable=False, server_default=text("''")),
)

#: XEP-0191: whom an account blocks; prepared addresses of any form.
blocked_address = Table(
    "blocked_address",
    metadata,
    _account_key(),
    Column("jid", Text, primary_key=True),
)

#: XEP-0377: whom users reported, for the operator. `reason` is "spam", "abuse" or what the report says,
#: `messages` a JSON list of the stanza-ids that it names.
abuse_report = Table(
    "abuse_report",
    metadata,
    Column("id", _row_number, primary_key=True, autoincrement=True),
    Column("account_id", BigInteger, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("jid", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("messages", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Index("ix_abuse_report_account_id", "account_id", "id"),
)

#: The installations of clients that log in to an account (XEP-0388 §2.3, `<user-agent/>`). `id` is a keyed
#: hash of what the client calls itself, which is kept nowhere; `tag` is what it wants in its resource
#: (XEP-0386).
device = Table(
    "device",
    metadata,
    _account_key(),
    Column("id", Text, primary_key=True),
    Column("software", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
)

#: The tokens with which they log in again (XEP-0484): at most two each, in the slots "current" and "new".
#: `masked` is worth nothing without the client's own id (`msgd.accounts.tokens`); `count` is the highest that
#: the client has sent with it, -1 for none.
device_token = Table(
    "device_token",
    metadata,
    _account_key(),
    Column("device", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("mechanism", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("masked", LargeBinary, nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False, server_default=text("-1")),
    ForeignKeyConstraint(["account_id", "device"], ["device.account_id", "device.id"], ondelete="CASCADE"),
)

#: Messages on their way to other servers, for each pair of domains, prepared. `set_aside` are those whose
#: bytes do not match their checksum: nobody sends them, an operator may look at them.
link_queue = Table(
    "link_queue",
    metadata,
    Column("theirs", Text, primary_key=True),
    Column("ours", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Column("stanza", LargeBinary, nullable=False),
    Column("set_aside", Boolean, nullable=False, server_default=false()),
)
