"""The client's side of SCRAM, for tests (RFC 5802, RFC 7677, RFC 9266)."""

import base64
import hashlib
import hmac
import secrets

_HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


class ScramClient:
    """One login: `first()`, then `final(challenge)`, then `verify(success)`; all messages are bytes.

    With "-PLUS" in `mechanism` it binds to the channel by `binding_type` ("tls-exporter",
    "tls-server-end-point") and `binding_data`. `flag` overrides the GS2 flag ("n", "y", "p=…"), and
    `authzid` asks to act as somebody. User name and password are taken as prepared.
    """

    def __init__(
        self,
        mechanism: str,
        username: str,
        password: str,
        binding_type: str = "",
        binding_data: bytes = b"",
        *,
        authzid: str = "",
        flag: str | None = None,
        nonce: str | None = None,
    ) -> None:
        self.mechanism = mechanism
        self._hash = _HASHES[mechanism.removesuffix("-PLUS")]
        self._password = password.encode()
        if flag is None:
            flag = f"p={binding_type}" if mechanism.endswith("-PLUS") else "n"
        self.nonce = secrets.token_urlsafe(18) if nonce is None else nonce
        self.header = f"{flag},{'a=' + _escape(authzid) if authzid else ''},"
        self.bare = f"n={_escape(username)},r={self.nonce}"
        self._binding = self.header.encode() + (binding_data if flag.startswith("p") else b"")
        self._signature = b""

    def first(self) -> bytes:
        """Return the first message, which names the user."""
        return (self.header + self.bare).encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the message with the proof. Raises ValueError when the challenge is not for this."""
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        if not fields["r"].startswith(self.nonce) or fields["r"] == self.nonce:
            raise ValueError("the server's nonce does not begin with the client's")
        salt, iterations = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, iterations)
        client_key = self._hmac(salted, b"Client Key")
        stored_key = hashlib.new(self._hash, client_key).digest()
        without_proof = f"c={_base64(self._binding)},r={fields['r']}"
        authenticated = f"{self.bare},{challenge.decode()},{without_proof}".encode()
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), authenticated)
        signed = self._hmac(stored_key, authenticated)
        proof = bytes(a ^ b for a, b in zip(client_key, signed, strict=True))
        return f"{without_proof},p={_base64(proof)}".encode()

    def verify(self, success: bytes) -> None:
        """Raise ValueError unless the server knows the password too."""
        if success != f"v={_base64(self._signature)}".encode():
            raise ValueError("the server's signature is wrong")

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self._hash)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _escape(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")
