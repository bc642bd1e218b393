"""Logging in with a token: the mechanisms HT of draft-schmaus-kitten-sasl-ht-09, as XEP-0484 uses them.

One message each way: the client's is its name and a hash keyed with the token, the server's another hash of
the same key. Those of the mechanisms that are bound to the channel hash what binds, too. What is kept of
tokens, and where, is the business of `msgd.accounts`.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Final

from msgd.accounts.accounts import Account
from msgd.accounts.device_store import Known, UserAgent
from msgd.accounts.devices import Devices
from msgd.accounts.tokens import StoredToken, Token, new_token
from msgd.negotiation.sasl import ChannelBindings, SaslFailure
from msgd.wire.jid import JID

NAMESPACE: Final = "urn:xmpp:fast:0"
#: The mechanisms with the channel binding of each; a client takes the first that it can do.
_MECHANISMS: Final = {
    "HT-SHA-256-EXPR": "tls-exporter",
    "HT-SHA-256-ENDP": "tls-server-end-point",
    "HT-SHA-256-NONE": "",
}
_HASH: Final = "sha256"
#: Seconds after which a token that is used is replaced: a device that comes daily always has one that is
#: good for almost its whole lifetime, and a stolen one is of little use.
_ROTATION: Final = 86_400
#: Compared with when a device has fewer than two, so that all take the same time.
_PRETENDED: Final = StoredToken(Token("", "", 0, 0), "", b"")


def fast_mechanisms(types: Collection[str]) -> tuple[str, ...]:
    """The mechanisms to offer on a connection with these types of channel binding."""
    return tuple(name for name, type in _MECHANISMS.items() if not type or type in types)


def fast_feature(types: Collection[str]) -> str:
    """The inline feature (XEP-0484 §4.1)."""
    listed = "".join(f"<mechanism>{name}</mechanism>" for name in fast_mechanisms(types))
    return f"<fast xmlns='{NAMESPACE}'>{listed}</fast>"


def is_fast(mechanism: str) -> bool:
    """Whether a mechanism is for tokens."""
    return mechanism in _MECHANISMS


class TokenLogin:
    """One login with a token of the client `agent`. Afterwards `used` is the token, `known` the device."""

    def __init__(
        self, devices: Devices, agent: UserAgent, mechanism: str, bindings: ChannelBindings | None
    ) -> None:
        self._devices = devices
        self._agent = agent
        self._mechanism = mechanism
        self._bindings = bindings
        self.known: Known | None = None
        self.used: StoredToken | None = None

    def read(self, message: bytes) -> tuple[str, bytes]:
        """The user's name and the hash. Raises SaslFailure "malformed-request"."""
        name, separator, proof = message.partition(b"\0")
        if not name or not separator or not proof:
            raise SaslFailure("malformed-request", "not a message of HT")
        try:
            return name.decode(), proof
        except UnicodeDecodeError:
            raise SaslFailure("malformed-request", "not UTF-8") from None

    async def check(self, jid: JID, proof: bytes) -> tuple[Account, bytes] | None:
        """The account and the server's hash if the proof is right for a token of this mechanism.

        Raises SaslFailure "credentials-expired" for a token that is too old.
        """
        binding = self._binding()
        known = self.known = await self._devices.find(jid, self._agent)
        for stored in (*known.tokens, _PRETENDED, _PRETENDED)[:2]:
            expected = _hashed(stored.token, b"Initiator", binding)
            right = hmac.compare_digest(expected, proof)
            # A token is for one mechanism: one that was bound to the channel must not do without it.
            if right and stored.token.mechanism == self._mechanism:
                self.used = stored
        if self.used is None or known.account is None or known.account.disabled:
            return None
        if self.used.token.expires <= self._devices.now:
            raise SaslFailure("credentials-expired", "the token is too old")
        return known.account, _hashed(self.used.token, b"Responder", binding)

    def _binding(self) -> bytes:
        type = _MECHANISMS[self._mechanism]
        if not type:
            return b""
        if self._bindings is None:
            raise SaslFailure("invalid-mechanism")
        return self._bindings.data(type)


def token_to_give(
    asked: str, used: StoredToken | None, invalidate: bool, now: int, lifetime: int
) -> Token | None:
    """The token that a client gets with its login: one that it asked for, or in place of an old one.

    `asked` is the mechanism for which it wants one, or empty; `lifetime` in seconds.
    """
    if asked:
        return new_token(asked, now, lifetime)
    if used is None or invalidate or now - used.token.issued < min(_ROTATION, lifetime // 2):
        return None
    return new_token(used.token.mechanism, now, lifetime)


def _hashed(token: Token, what: bytes, binding: bytes) -> bytes:
    return hmac.digest(token.text.encode(), what + binding, _HASH)
