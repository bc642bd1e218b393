"""SCRAM verifiers: what is kept instead of a password (RFC 5802 §3, RFC 7677).

A verifier lets the server check a login, and prove itself to the client, without being able to log in
as the user elsewhere. Nothing of a password is stored in any other form.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import lru_cache

#: SCRAM mechanisms and the hash function of each, the strongest first. Every account has a verifier for
#: all of them, so that the list of mechanisms does not tell accounts apart.
HASHES = {
    "SCRAM-SHA-512": "sha512",
    "SCRAM-SHA-256": "sha256",
    "SCRAM-SHA-1": "sha1",
}

#: Rounds of PBKDF2 for new passwords. The client pays them at each first login, the server only when a
#: password is set or sent by PLAIN. RFC 7677 §4 wants 4096 at least; 10,000 take a small phone about
#: 50 ms and the server about 4 ms for each hash. Accounts keep the number they were made with.
ITERATIONS = 10_000

#: Fewer would break RFC 7677 §4; more lets anybody who may set a password occupy the server, and
#: clients refuse it.
LEAST_ITERATIONS, MOST_ITERATIONS = 4096, 1_000_000

#: Length in bytes of salts, those of existing accounts and of the others.
SALT_SIZE = 16

# The mechanism by whose verifier PLAIN logins are checked.
FOR_PLAIN = "SCRAM-SHA-256"


@dataclass(frozen=True, slots=True)
class Verifier:
    """What the server knows of a password, for one mechanism (StoredKey and ServerKey of RFC 5802 §3)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def derive(mechanism: str, password: bytes, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a prepared password. Takes milliseconds: not for the reactor's thread."""
    name = HASHES[mechanism]
    salted = hashlib.pbkdf2_hmac(name, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", name)
    server_key = hmac.digest(salted, b"Server Key", name)
    return Verifier(salt, iterations, hashlib.new(name, client_key).digest(), server_key)


def new_verifiers(password: bytes, iterations: int = ITERATIONS) -> dict[str, Verifier]:
    """Return verifiers of a prepared password, with new salts, by mechanism. Takes milliseconds."""
    return {
        mechanism: derive(mechanism, password, secrets.token_bytes(SALT_SIZE), iterations)
        for mechanism in HASHES
    }


def is_password(known: Verifier, password: bytes) -> bool:
    """Whether `password`, prepared, is the one of this verifier for `FOR_PLAIN`. Takes milliseconds."""
    tried = derive(FOR_PLAIN, password, known.salt, known.iterations)
    return hmac.compare_digest(tried.stored_key, known.stored_key)


def pretended_verifier(secret: bytes, name: str, mechanism: str, iterations: int) -> Verifier:
    """Return a verifier for an account that does not exist (RFC 5802 §9 leaves the salt to the server).

    Always the same for the same name, so that asking twice tells nothing, and no password fits: the
    keys are no outcome of PBKDF2 that anybody knows. Only the salt is ever told.
    """
    salt = hmac.digest(secret, f"salt\0{mechanism}\0{name}".encode(), HASHES[mechanism])
    return Verifier(salt[:SALT_SIZE], iterations, *_keys_of_nobody(secret, mechanism))


@lru_cache(maxsize=16)
def _keys_of_nobody(secret: bytes, mechanism: str) -> tuple[bytes, bytes]:
    """A stored key and a server key of the right lengths; one pair does for all names."""
    stored_key, server_key = (
        hmac.digest(secret, f"{part}\0{mechanism}".encode(), HASHES[mechanism])
        for part in ("stored key", "server key")
    )
    return stored_key, server_key
