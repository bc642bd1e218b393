"""msgd: a messaging server on XMPP that never loses what it acknowledged."""

__version__ = "0.1.0"
