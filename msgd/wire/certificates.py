"""Certificates: made for a domain that has none, read, and checked before anybody meets them.

Sources: RFC 6120 §13.7.1 (certificates of servers), RFC 9525 (names in the subjectAltName only; the
common name counts for nothing). `certificate_for` is asked at the start and at each reload; `examine`
is for `msgd check`.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import idna
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from msgd.config import Config
from msgd.options import ConfigError, Fault

#: How long a self-signed certificate is good. Who trusts it trusts this one: a new one breaks that.
VALIDITY: Final = timedelta(days=3650)
#: From when on `msgd check` complains: time enough to look after a renewal that failed.
SOON: Final = timedelta(days=14)
DIRECTORY: Final = "certificates"
#: Names in a certificate that are looked at; one with more is made to waste time.
MOST_NAMES: Final = 1000


@dataclass(frozen=True)
class Pair:
    """The files of one domain."""

    domain: str
    certificate: Path
    key: Path
    #: Made by the server itself.
    own: bool


class CertificateError(ConfigError):
    """A certificate or key cannot be used; one line says which, and what to do."""


class _Bad(Exception):
    def __init__(self, file: Path, what: str, remedy: str) -> None:
        self.file, self.what, self.remedy = file, what, remedy


def pairs(config: Config) -> list[Pair]:
    """The certificate and key of each domain, configured or the server's own, whether or not they exist."""
    found = []
    for domain in config.domains:
        certificate, key = config.certificate_files(domain)
        if certificate is None or key is None:
            stem = config.data / DIRECTORY / domain
            own = Path(f"{stem}.crt"), Path(f"{stem}.key")
            found.append(Pair(domain, *own, own=True))
        else:
            found.append(Pair(domain, certificate, key, own=False))
    return found


def _make(pair: Pair) -> None:
    pair.certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, key = self_signed(pair.domain)
    # The certificate last: where it is, the key is whole.
    _write(pair.key, key, 0o600)
    _write(pair.certificate, certificate, 0o644)


def self_signed(domain: str, now: datetime | None = None) -> tuple[bytes, bytes]:
    """A new ECDSA P-256 certificate for `domain` and its key, both as PEM."""
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, domain[:64])])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is a little behind must not refuse it.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectAlternativeName([_general_name(domain)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def certificate_for(config: Config, domain: str) -> tuple[Path, Path]:
    """The files of the certificate and key of a domain, usable together; made when missing.

    Raises CertificateError.
    """
    pair = next(pair for pair in pairs(config) if pair.domain == domain)
    try:
        if pair.own and not pair.certificate.exists():
            _make(pair)
        read_pair(pair)
    except _Bad as bad:
        raise CertificateError([_fault(bad, pair)]) from None
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        unwritable = _Bad(pair.certificate, what, "let msgd write there")
        raise CertificateError([_fault(unwritable, pair)]) from error
    return pair.certificate, pair.key


def examine(config: Config, now: datetime | None = None) -> list[Fault]:
    """Everything that is wrong or soon will be with the certificates. Makes and changes nothing."""
    now = now or datetime.now(UTC)
    faults = []
    for pair in pairs(config):
        if pair.own and not pair.certificate.exists():
            continue  # made at the start
        try:
            certificate = read_pair(pair)
            faults += [_fault(bad, pair) for bad in _doubts(pair, certificate, now)]
        except _Bad as bad:
            faults.append(_fault(bad, pair))
    return faults


def _fault(bad: _Bad, pair: Pair) -> Fault:
    return Fault(str(bad.file), f"domain {pair.domain}", bad.what, bad.remedy)


def read_pair(pair: Pair) -> x509.Certificate:
    """The certificate, when it and its key are there and belong together. Raises `_Bad`."""
    certificate_text, key_text = _read(pair.certificate), _read(pair.key)
    try:
        certificate = x509.load_pem_x509_certificates(certificate_text)[0]
    except ValueError:
        raise _Bad(pair.certificate, "holds no certificate", "it must be in PEM form") from None
    try:
        key = serialization.load_pem_private_key(key_text, None)
    except TypeError:
        what = "the key has a passphrase"
        raise _Bad(pair.key, what, "write it without one (openssl pkey)") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _Bad(pair.key, "holds no private key", "it must be in PEM form") from None
    if key.public_key() != certificate.public_key():
        what = f"is not the key of {pair.certificate.name}"
        raise _Bad(pair.key, what, "name the two that were issued together")
    return certificate


def _doubts(pair: Pair, certificate: x509.Certificate, now: datetime) -> Iterator[_Bad]:
    """What clients, or strangers on this machine, will make of it."""
    file, renew = pair.certificate, "renew it, then send SIGHUP to msgd"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        yield _Bad(file, f"is valid only from {begin:%Y-%m-%d %H:%M} UTC on", "check the clock")
    elif now > end:
        yield _Bad(file, f"expired on {end:%Y-%m-%d}", renew)
    elif now > end - SOON:
        yield _Bad(file, f"expires in {(end - now).days} days", renew)
    names = names_of(certificate)
    if not any(matches(name, pair.domain) for name in names):
        told = ", ".join(names[:5]) or "no name"
        yield _Bad(file, f"is not for this domain but for {told}", "have one issued for it")
    if pair.key.stat().st_mode & 0o007:
        yield _Bad(pair.key, "everybody can read this key", f"chmod 600 {pair.key}")


def domain_naming(config: Config, component: str) -> str | None:
    """The first domain whose certificate is good for a component's domain too."""
    for pair in pairs(config):
        try:
            names = names_of(read_pair(pair))
        except (_Bad, OSError):
            continue
        if any(matches(name, component) for name in names):
            return pair.domain
    return None


def names_of(certificate: x509.Certificate) -> list[str]:
    """The DNS names and IP addresses in the subjectAltName, at most `MOST_NAMES`."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    names = [str(each.value) for each in found if isinstance(each, x509.DNSName | x509.IPAddress)]
    return names[:MOST_NAMES]


def matches(name: str, domain: str) -> bool:
    """Whether a certificate's name is that of the domain; `*` stands for one whole first label."""
    ours = str(_general_name(domain).value).lower()
    name = name.lower().rstrip(".")
    if name.startswith("*."):
        _, dot, rest = ours.partition(".")
        return bool(dot) and rest == name[2:] and "." in rest
    return name == ours


def _general_name(domain: str) -> x509.DNSName | x509.IPAddress:
    """The domain as it stands in certificates. A domain of XMPP may be an IP address."""
    try:
        return x509.IPAddress(ipaddress.ip_address(domain.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(idna.encode(domain, uts46=True).decode("ascii"))
    except idna.IDNAError:
        return x509.DNSName(domain.encode("ascii", "replace").decode("ascii"))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        remedy = "let msgd's user read it" if file.exists() else "name the file that there is"
        raise _Bad(file, f"cannot be read: {error.strerror}", remedy) from None


def _write(file: Path, content: bytes, mode: int) -> None:
    """Write the file whole or not at all."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(descriptor)
    new.rename(file)
