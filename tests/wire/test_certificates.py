"""Certificates that msgd makes, and names in certificates (RFC 9525)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from msgd.wire.certificates import matches, names_of, self_signed


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("localhost", "localhost"),
        ("example.org", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
    ],
)
def test_a_made_certificate_is_for_its_domain(domain: str, name: str) -> None:
    text, _ = self_signed(domain)
    certificate = x509.load_pem_x509_certificate(text)
    assert names_of(certificate) == [name]
    assert matches(name, domain)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize(
    ("name", "domain", "same"),
    [
        ("EXAMPLE.org", "example.org", True),
        ("example.org.", "example.org", True),
        ("example.org", "chat.example.org", False),
        ("*.example.org", "chat.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "a.chat.example.org", False),
        ("*.example.org", "chatexample.org", False),
        ("*.org", "example.org", False),
        ("*", "localhost", False),
        ("ch*.example.org", "chat.example.org", False),
        ("xn--bcher-kva.example", "bücher.example", True),
    ],
)
def test_names(name: str, domain: str, same: bool) -> None:
    assert matches(name, domain) is same
