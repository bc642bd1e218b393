"""SASL, the server's side: from the mechanism a client chose to an account (RFC 6120 §6, RFC 4422).

Knows nothing of streams: `client.py` takes the messages out of their elements and back, and says what TLS
offers for channel binding. SCRAM itself is in `scram.py`.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from msgd.accounts.accounts import Account, AccountError, Accounts
from msgd.accounts.credentials import HASHES
from msgd.accounts.throttle import LoginThrottle
from msgd.negotiation.failure import SaslFailure
from msgd.negotiation.scram import ClientFirst, ScramLogin, parse_client_first
from msgd.storage.database import DatabaseFault
from msgd.wire.jid import JID, JIDError, prepare_local

__all__ = [
    "Challenge",
    "ChannelBindings",
    "SaslExchange",
    "SaslFailure",
    "SaslOptions",
    "Success",
    "TokenMechanism",
    "advertised_hash",
    "channel_binding_feature",
    "decode_base64",
    "decode_data",
    "offered_mechanisms",
]

#: The most bytes of one message. A name and an address of 1023 octets, every one escaped, with nonces
#: and PLAIN's password, stay below.
LONGEST_MESSAGE = 8192

#: Random bytes in the server's nonce (RFC 5802 §5.1 wants it unpredictable), base64 makes 24 of them.
_NONCE_BYTES = 18

_PLUS = "-PLUS"
_CHANNEL_BINDING_NAMESPACE = "urn:xmpp:sasl-cb:0"


class ChannelBindings(Protocol):
    """What the TLS connection offers for channel binding."""

    def types(self) -> tuple[str, ...]:
        """Return the types ("tls-exporter" …), the best first."""

    def data(self, type: str) -> bytes:
        """Return the data of one of the types. Raises LookupError."""


class TokenMechanism(Protocol):
    """A mechanism that is not for passwords (`fast.py`): it reads one message and checks one."""

    def read(self, message: bytes) -> tuple[str, bytes]:
        """The user's name and the proof in the client's message. Raises SaslFailure."""

    async def check(self, jid: JID, proof: bytes) -> tuple[Account, bytes] | None:
        """The account, and the server's own proof; None for a wrong one. Raises SaslFailure."""


@dataclass(frozen=True, slots=True)
class SaslOptions:
    """Which mechanisms the operator wants: `scram` by name without -PLUS; `plain` (RFC 4616)."""

    scram: Collection[str] = tuple(HASHES)
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Challenge:
    """The server's next message, for `<challenge/>`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Success:
    """The login succeeded. `data` goes into `<success/>` (RFC 6120 §6.4.6)."""

    account: Account
    data: bytes


def offered_mechanisms(bindings: Collection[str], options: SaslOptions = SaslOptions()) -> list[str]:
    """Return the names of the mechanisms to offer, the strongest first.

    `bindings` are the types of channel binding. -PLUS needs TLS with one and PLAIN needs TLS; without TLS
    there are none.
    """
    names = [name for name in HASHES if name in options.scram]
    if not bindings:
        return names
    return [name + _PLUS for name in names] + names + (["PLAIN"] if options.plain else [])


def channel_binding_feature(types: Collection[str]) -> bytes:
    """Return the stream feature that names the types of channel binding (XEP-0440), or nothing."""
    if not types:
        return b""
    listed = "".join(f"<channel-binding type='{type}'/>" for type in types)
    name = "sasl-channel-binding"
    return f"<{name} xmlns='{_CHANNEL_BINDING_NAMESPACE}'>{listed}</{name}>".encode()


@lru_cache(maxsize=64)  # few versions of TLS, one set of options until a reload
def advertised_hash(offered: tuple[str, ...], bindings: tuple[str, ...], hash: str) -> str:
    """Return the hash of what was offered on this connection, for the client to compare (XEP-0474 §5.1)."""
    text = "\x1e".join(sorted(offered))
    if bindings:
        text += "\x1f" + "\x1e".join(sorted(bindings))
    return base64.b64encode(hashlib.new(hash, text.encode()).digest()).decode()


def decode_base64(text: str) -> bytes | None:
    """Return the message in the text of `<auth/>` or `<response/>`: None if there is none.

    "=" is a message of no bytes (RFC 6120 §6.4.2). Raises SaslFailure as `decode_data` does.
    """
    if not text:
        return None
    if text == "=":
        return b""
    return decode_data(text)


def decode_data(text: str) -> bytes:
    """Return the message that is written so.

    Raises SaslFailure "incorrect-encoding" for what is not base64 (white space is not),
    "malformed-request" when it is too long.
    """
    if len(text) > LONGEST_MESSAGE * 4 // 3:
        raise SaslFailure("malformed-request", "the message is too long")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslFailure("incorrect-encoding") from None


class SaslExchange:
    """One try to log in, by one mechanism. Ends with `Success` or SaslFailure; then it is of no use.

    `offered` are the names that this connection was offered. Raises SaslFailure "invalid-mechanism" for
    any other. `throttle` counts failures by `address`, the client's IP address. `claimed` is the bare
    address that the stream's header names: nobody else can log in on it (XEP-0388 §2.3). `tokens` makes it
    a login with a token.
    """

    def __init__(
        self,
        mechanism: str,
        domain: str,
        accounts: Accounts,
        bindings: ChannelBindings | None,
        offered: Collection[str],
        *,
        throttle: LoginThrottle | None = None,
        address: str = "",
        claimed: JID | None = None,
        tokens: TokenMechanism | None = None,
    ) -> None:
        if mechanism not in offered:
            raise SaslFailure("invalid-mechanism")
        self.mechanism = mechanism
        self._domain = domain
        self._accounts = accounts
        self._bindings = bindings
        self._offered = offered
        self._throttle = throttle
        self._address = address
        self._claimed = claimed
        self._tokens = tokens
        self._asked = False  # whether the first message was asked for by an empty challenge
        self._busy = False
        self._ended = False
        self._login: tuple[ScramLogin, JID, Account | None] | None = None

    async def respond(self, message: bytes | None) -> Challenge | Success:
        """Take the client's next message and return the server's. Raises SaslFailure.

        None, for an `<auth/>` without text, means that the client waits for the server's word first.
        The client has to wait for the answer: a message before it is a "malformed-request".
        """
        if self._busy or self._ended:
            raise SaslFailure("malformed-request", "out of turn")
        self._busy = True
        try:
            answer = await self._respond(message)
        except DatabaseFault:
            self._ended = True
            raise SaslFailure("temporary-auth-failure") from None
        except SaslFailure:
            self._ended = True
            raise
        finally:
            self._busy = False
        self._ended = isinstance(answer, Success)
        return answer

    async def _respond(self, message: bytes | None) -> Challenge | Success:
        if message is None and not self._asked and self._login is None:
            self._asked = True
            return Challenge(b"")
        message = message or b""
        if len(message) > LONGEST_MESSAGE:
            raise SaslFailure("malformed-request", "the message is too long")
        if self._login is not None:
            return await self._scram_final(message)
        if self._tokens is not None:
            return await self._token(self._tokens, message)
        if self.mechanism == "PLAIN":
            return await self._plain(message)
        return await self._scram_first(message)

    # PLAIN, RFC 4616

    async def _plain(self, message: bytes) -> Success:
        authzid, name, password = _plain_parts(message)
        jid = self._address_of(name, authzid)
        self._must_not_wait(jid)
        try:
            account = await self._accounts.check_password(jid, password)
        except AccountError as error:
            if error.condition == "resource-constraint":
                raise SaslFailure("temporary-auth-failure", error.text) from None
            raise SaslFailure("account-disabled") from None
        if account is None:
            raise self.wrong(jid)
        return self._success(account, b"")

    # Tokens, XEP-0484

    async def _token(self, tokens: TokenMechanism, message: bytes) -> Success:
        name, proof = tokens.read(message)
        jid = self._address_of(name, "")
        self._must_not_wait(jid)
        found = await tokens.check(jid, proof)
        if found is None:
            raise self.wrong(jid)
        return self._success(*found)

    # SCRAM, RFC 5802

    async def _scram_first(self, message: bytes) -> Challenge:
        first = parse_client_first(message)
        binding_data = self._binding_data(first)
        jid = self._address_of(first.name, first.authzid)
        self._must_not_wait(jid)
        mechanism = self.mechanism.removesuffix(_PLUS)
        account, verifier = await self._accounts.for_login(jid, mechanism)
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        types = self._bindings.types() if self._bindings is not None else ()
        advertised = advertised_hash(tuple(self._offered), types, HASHES[mechanism])
        login = ScramLogin(mechanism, first, verifier, binding_data, nonce, advertised)
        self._login = login, jid, account
        return Challenge(login.challenge)

    async def _scram_final(self, message: bytes) -> Success:
        assert self._login is not None
        login, jid, account = self._login
        self._must_not_wait(jid)  # others may have failed since
        try:
            data = login.check(message)
        except SaslFailure as failure:
            if failure.condition == "not-authorized":
                raise self.wrong(jid) from None
            raise
        # Between the challenge and now it may have been deleted, disabled or given another password.
        now, verifier = await self._accounts.for_login(jid, self.mechanism.removesuffix(_PLUS))
        if account is None or now is None or now.id != account.id or not login.used(verifier):
            raise self.wrong(jid)
        if now.disabled:
            raise SaslFailure("account-disabled")
        return self._success(now, data)

    def _binding_data(self, first: ClientFirst) -> bytes:
        """Return the channel's data if the client binds to it; check its flag (RFC 5802 §6)."""
        plus = self.mechanism.endswith(_PLUS)
        if plus != (first.flag == "p"):
            raise SaslFailure("malformed-request", "the flag for channel binding does not fit")
        if first.flag == "y" and any(name.endswith(_PLUS) for name in self._offered):
            # The client was shown a list without -PLUS: somebody between has changed it.
            raise SaslFailure("not-authorized", "the server does support channel binding")
        if not plus:
            return b""
        try:
            if self._bindings is None or first.binding not in self._bindings.types():
                raise LookupError
            return self._bindings.data(first.binding)
        except LookupError:
            text = "this type of channel binding is not supported"
            raise SaslFailure("not-authorized", text) from None

    # For both

    def _address_of(self, name: str, authzid: str) -> JID:
        """Return the bare address of a user name; only that may be asked for (RFC 6120 §6.3.8)."""
        try:
            jid = JID.make(prepare_local(name), self._domain)
        except JIDError:
            raise SaslFailure("not-authorized") from None
        if authzid:
            try:
                wanted = JID.parse(authzid)
            except JIDError:
                raise SaslFailure("invalid-authzid") from None
            if wanted != jid:
                raise SaslFailure("invalid-authzid")
        if self._claimed is not None and self._claimed != jid:
            raise SaslFailure("invalid-authzid", "the stream was opened for another address")
        return jid

    def _must_not_wait(self, jid: JID) -> None:
        if self._throttle is not None and (seconds := self._throttle.wait(self._address, jid)):
            text = f"too many failed logins; the next may be made in {seconds:.0f} seconds"
            raise SaslFailure("temporary-auth-failure", text)

    def wrong(self, jid: JID) -> SaslFailure:
        """Return the failure of somebody who claimed to be `jid`, and count it."""
        if self._throttle is not None:
            self._throttle.failed(self._address, jid)
        return SaslFailure("not-authorized")

    def _success(self, account: Account, data: bytes) -> Success:
        if self._throttle is not None:
            self._throttle.succeeded(self._address, account.jid)
        self._accounts.logged_in(account.jid)
        return Success(account, data)


def _plain_parts(message: bytes) -> tuple[str, str, str]:
    """Return authzid, name and password of a PLAIN message (RFC 4616 §2)."""
    try:
        parts = message.decode().split("\0")
    except UnicodeDecodeError:
        raise SaslFailure("malformed-request", "not UTF-8") from None
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslFailure("malformed-request", "not a message of PLAIN")
    authzid, name, password = parts
    return authzid, name, password
