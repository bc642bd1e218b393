"""Which certificates prove which domain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from OpenSSL import crypto

from msgd.wire.domain import ascii_domain
from msgd.wire.identity import Authorities, doubt

NOW = datetime.now(UTC)
#: id-on-xmppAddr and id-on-dnsSRV (RFC 6120 §13.7.1.4, RFC 4985).
XMPP_ADDR = ObjectIdentifier("1.3.6.1.5.5.7.8.5")
SRV_NAME = ObjectIdentifier("1.3.6.1.5.5.7.8.7")
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Issuer:
    """An authority; `below` makes one under it."""

    def __init__(self, parent: Issuer | None = None, number: int = 0) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {number}")])
        self.certificate = self._sign(parent or self, self.name, self.key.public_key(), ca=True)

    def _sign(
        self,
        signer: Issuer,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        ca: bool,
        *extensions: x509.ExtensionType,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(signer.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer.key, hashes.SHA256())

    def issue(self, *extensions: x509.ExtensionType, common_name: str = "x") -> crypto.X509:
        """A certificate of a server."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        key = ec.generate_private_key(ec.SECP256R1())
        return crypto.X509.from_cryptography(self._sign(self, name, key.public_key(), False, *extensions))


@pytest.fixture(scope="module")
def root() -> Issuer:
    """The authority that is trusted."""
    return Issuer()


@pytest.fixture(scope="module")
def trusted(root: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    """Who vouches: the root alone."""
    file: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    file.write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    return Authorities(str(file))


def names(*texts: str) -> x509.SubjectAlternativeName:
    """DNS names."""
    return x509.SubjectAlternativeName([x509.DNSName(text) for text in texts])


def other(kind: ObjectIdentifier, tag: int, text: str) -> x509.SubjectAlternativeName:
    """A name of a kind that X.509 has no own word for; `tag` is that of its string."""
    raw = bytes([tag, len(text)]) + text.encode()
    return x509.SubjectAlternativeName([x509.OtherName(kind, raw)])


@pytest.mark.parametrize(
    ("san", "domain", "good"),
    [
        (names("a.example"), "a.example", True),
        (names("A.Example"), "a.example", True),
        (names("b.example"), "a.example", False),
        (names("*.example.org"), "xmpp.example.org", True),
        (names("*.example.org"), "example.org", False),
        (names("*.example.org"), "badexample.org", False),
        (names("*.example.org"), "a.b.example.org", False),
        (names("a.example", "b.example"), "b.example", True),
        (names("xn--bcher-kva.example"), "bücher.example", True),
        (other(SRV_NAME, 22, "_xmpp-server.a.example"), "a.example", True),
        (other(SRV_NAME, 22, "_xmpp-client.a.example"), "a.example", False),
        (other(XMPP_ADDR, 12, "a.example"), "a.example", False),
    ],
)
def test_names(
    root: Issuer, trusted: Authorities, san: x509.SubjectAlternativeName, domain: str, good: bool
) -> None:
    told = doubt(root.issue(san), [], trusted, domain, connected_to=True)
    assert (told == "") is good, told


def test_the_common_name_counts_for_nothing(root: Issuer, trusted: Authorities) -> None:
    certificate = root.issue(common_name="a.example")
    assert "names no domain" in doubt(certificate, [], trusted, "a.example", connected_to=True)


@pytest.mark.parametrize(
    ("usages", "as_server", "as_client"),
    [
        ([SERVER, CLIENT], True, True),
        ([SERVER], True, True),
        ([CLIENT], False, True),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False, False),
    ],
)
def test_usages(
    root: Issuer, trusted: Authorities, usages: list[ObjectIdentifier], as_server: bool, as_client: bool
) -> None:
    certificate = root.issue(names("a.example"), x509.ExtendedKeyUsage(usages))
    assert (not doubt(certificate, [], trusted, "a.example", connected_to=True)) is as_server
    assert (not doubt(certificate, [], trusted, "a.example", connected_to=False)) is as_client


def test_a_hundred_thousand_names_are_not_looked_at(root: Issuer, trusted: Authorities) -> None:
    certificate = root.issue(names(*(f"n{number}.example" for number in range(100_000)), "a.example"))
    assert "more than 1000 names" in doubt(certificate, [], trusted, "a.example", connected_to=True)


def test_long_chains_are_not_followed(root: Issuer, trusted: Authorities) -> None:
    issuers = [root]
    for number in range(50):
        issuers.append(Issuer(issuers[-1], number + 1))
    chain = [crypto.X509.from_cryptography(each.certificate) for each in issuers[1:]]
    long = issuers[-1].issue(names("a.example"))
    assert "more than 10 certificates" in doubt(long, chain, trusted, "a.example", connected_to=True)
    short = issuers[3].issue(names("a.example"))
    assert doubt(short, chain[:3], trusted, "a.example", connected_to=True) == ""


def test_strangers_and_nobody(trusted: Authorities) -> None:
    stranger = Issuer(number=99).issue(names("a.example"))
    assert "not trusted" in doubt(stranger, [], trusted, "a.example", connected_to=True)
    assert doubt(None, [], trusted, "a.example", connected_to=True) == "it shows no certificate"


def test_domains_as_dns_writes_them() -> None:
    assert ascii_domain("bücher.example") == "xn--bcher-kva.example"
    assert ascii_domain("a.example") == "a.example"
