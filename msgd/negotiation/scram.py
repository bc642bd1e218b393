"""SCRAM, the server's side, without any input or output (RFC 5802, RFC 7677).

`parse_client_first` reads who wants to log in; with that account's verifier a `ScramLogin` makes the
challenge and checks the proof. `sasl.py` connects this with accounts and connections. Messages are read
by one pattern each: attributes in the RFC's order, none twice, none that must be understood and is not.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

from msgd.accounts.credentials import HASHES, Verifier
from msgd.negotiation.failure import SaslFailure

# RFC 5802 §7. The client's nonce is echoed and hashed, so its length is bounded; 8 to 64 are usual.
_LONGEST_NONCE = 256
_NONCE = r"[!-+\--~]+"
_NAME = r"(?:[^\0,=]|=2C|=3D)+"
# Optional extensions: attributes with names that the RFC does not use. "m" is reserved for mandatory ones.
_EXTENSIONS = r"(?:,(?![acimnprsv]=)[A-Za-z]=[^\0,]+)*"
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"

_CLIENT_FIRST = re.compile(
    rf"(?P<header>(?P<flag>n|y|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>{_NAME}))?,)"
    rf"(?P<bare>n=(?P<name>{_NAME}),r=(?P<nonce>{_NONCE}){_EXTENSIONS})"
)
_CLIENT_FINAL = re.compile(
    rf"(?P<without_proof>c=(?P<binding>{_BASE64}),r=(?P<nonce>{_NONCE}){_EXTENSIONS})"
    rf",p=(?P<proof>{_BASE64})"
)
_MANDATORY_EXTENSION = re.compile(r"(?:^|,)m=")


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """The client's first message: `flag` is "n", "y" or "p", `binding` the type of channel binding."""

    header: str
    flag: str
    binding: str
    authzid: str
    name: str
    nonce: str
    bare: str


def parse_client_first(message: bytes) -> ClientFirst:
    """Read the client's first message (RFC 5802 §7). Raises SaslFailure "malformed-request"."""
    match = _match(_CLIENT_FIRST, message)
    if len(match["nonce"]) > _LONGEST_NONCE:
        raise SaslFailure("malformed-request", "the nonce is too long")
    return ClientFirst(
        header=match["header"],
        flag=match["flag"][0],
        binding=match["binding"] or "",
        authzid=_unescape(match["authzid"] or ""),
        name=_unescape(match["name"]),
        nonce=match["nonce"],
        bare=match["bare"],
    )


class ScramLogin:
    """One login, from the challenge to the proof.

    `mechanism` is the name without "-PLUS"; `binding_data` the channel's data when the flag is "p", else
    empty; `nonce` the server's part, printable and without commas, unguessable and never used before;
    `advertised` the hash of what was offered (XEP-0474), base64, or empty.
    """

    __slots__ = ("_binding", "_first_messages", "_hash", "_nonce", "_verifier", "challenge")

    def __init__(
        self,
        mechanism: str,
        first: ClientFirst,
        verifier: Verifier,
        binding_data: bytes,
        nonce: str,
        advertised: str = "",
    ) -> None:
        self._hash = HASHES[mechanism]
        self._verifier = verifier
        self._nonce = first.nonce + nonce
        self._binding = first.header.encode() + binding_data
        salt = base64.b64encode(verifier.salt).decode()
        challenge = f"r={self._nonce},s={salt},i={verifier.iterations}"
        if advertised:
            challenge += f",h={advertised}"
        self._first_messages = f"{first.bare},{challenge},"
        #: The server's first message.
        self.challenge = challenge.encode()

    def check(self, message: bytes) -> bytes:
        """Check the client's final message and return the server's, which proves the server.

        Raises SaslFailure "malformed-request", or "not-authorized" without saying which part was wrong.
        """
        match = _match(_CLIENT_FINAL, message)
        binding, proof = _decode(match["binding"]), _decode(match["proof"])
        authenticated = (self._first_messages + match["without_proof"]).encode()
        right = hmac.compare_digest(binding, self._binding)
        right &= hmac.compare_digest(match["nonce"], self._nonce)
        right &= self._is_proof(proof, authenticated)
        if not right:
            raise SaslFailure("not-authorized")
        signature = hmac.digest(self._verifier.server_key, authenticated, self._hash)
        return b"v=" + base64.b64encode(signature)

    def used(self, verifier: Verifier) -> bool:
        """Whether this login was checked against `verifier`."""
        return hmac.compare_digest(verifier.stored_key, self._verifier.stored_key)

    def _is_proof(self, proof: bytes, authenticated: bytes) -> bool:
        """Whether `proof` was made with the key of which the verifier holds the hash (RFC 5802 §3)."""
        signature = hmac.digest(self._verifier.stored_key, authenticated, self._hash)
        if len(proof) != len(signature):
            return False
        mixed = int.from_bytes(proof, "big") ^ int.from_bytes(signature, "big")
        client_key = mixed.to_bytes(len(proof), "big")
        stored_key = hashlib.new(self._hash, client_key).digest()
        return hmac.compare_digest(stored_key, self._verifier.stored_key)


def _match(pattern: re.Pattern[str], message: bytes) -> re.Match[str]:
    try:
        text = message.decode()
    except UnicodeDecodeError:
        raise SaslFailure("malformed-request", "not UTF-8") from None
    match = pattern.fullmatch(text)
    if match is None:
        if _MANDATORY_EXTENSION.search(text):
            raise SaslFailure("malformed-request", "unknown mandatory extension")
        raise SaslFailure("malformed-request", "not a message of SCRAM")
    return match


def _unescape(name: str) -> str:
    return name.replace("=2C", ",").replace("=3D", "=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise SaslFailure("malformed-request", "base64 inside the message is wrong") from None
