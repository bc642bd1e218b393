"""Whether a certificate is good, and for which domain: the two questions behind every link.

Names count in the subjectAltName only: DNS-ID and SRV-ID (RFC 9525 §4.1, RFC 6120 §13.7.1.2.1), for a domain
that is an IP address IP-ID. The common name and id-on-xmppAddr count for nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import (
    DNS_ID,
    SRV_ID,
    IPAddress_ID,
    ServiceID,
    verify_service_identity,
)

from msgd.wire.certificates import MOST_NAMES
from msgd.wire.domain import ascii_domain

#: Certificates that a peer may show with its own; public authorities need two or three.
_LONGEST_CHAIN: Final = 10


class Authorities:
    """Who vouches for certificates: those in a PEM file, or those that the system trusts."""

    def __init__(self, file: str | None) -> None:
        """Raises OpenSSL.SSL.Error, OSError when the file cannot be used."""
        # The store is the context's, and OpenSSL does not count that we have it: both have to live.
        self._context = SSL.Context(SSL.TLS_METHOD)
        if file is None:
            self._context.set_default_verify_paths()
        else:
            with open(file, "rb"):
                pass  # OpenSSL would not say what is wrong with it
            self._context.load_verify_locations(file)
        store = self._context.get_cert_store()
        if store is None:
            raise OSError("OpenSSL has no certificate store")
        self._store = store

    def doubt(self, certificate: crypto.X509, chain: list[crypto.X509]) -> str:
        """Why they do not vouch for a certificate; empty when they do."""
        try:
            crypto.X509StoreContext(self._store, certificate, chain).verify_certificate()
        except crypto.X509StoreContextError as error:
            return f"its certificate is not trusted: {error}"
        return ""


def doubt(
    certificate: crypto.X509 | None,
    chain: list[crypto.X509],
    authorities: Authorities,
    domain: str,
    *,
    connected_to: bool,
) -> str:
    """Why a certificate does not prove that its owner is the server of `domain`; empty when it does.

    `connected_to` tells that we connected to it. Who connects to us may show a certificate that is for
    servers only: public authorities issue nothing else any more.
    """
    if certificate is None:
        return "it shows no certificate"
    if len(chain) > _LONGEST_CHAIN:
        return f"its chain has more than {_LONGEST_CHAIN} certificates"
    parsed = certificate.to_cryptography()
    return (
        authorities.doubt(certificate, chain)
        or _usage_doubt(parsed, connected_to)
        or _name_doubt(parsed, domain)
    )


def _usage_doubt(certificate: x509.Certificate, connected_to: bool) -> str:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    except ValueError:
        return "its certificate is malformed"
    good = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if not connected_to:
        good.add(ExtendedKeyUsageOID.CLIENT_AUTH)
    return "" if good.intersection(usage) else "its certificate is not for servers (extended key usage)"


def _name_doubt(certificate: x509.Certificate, domain: str) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if len(names) > MOST_NAMES:
            return f"its certificate has more than {MOST_NAMES} names"
        patterns = extract_patterns(certificate)
    except x509.ExtensionNotFound:
        return "its certificate names no domain (subjectAltName)"
    except (ValueError, CertificateError):
        return "its certificate is malformed"
    for wanted in _ids(domain):
        try:
            verify_service_identity(patterns, [wanted], [])
        except (VerificationError, CertificateError):
            continue
        return ""
    told = ", ".join(str(name) for name in names.get_values_for_type(x509.DNSName)[:5]) or "no domain"
    return f"its certificate is for {told}"


def _ids(domain: str) -> list[ServiceID]:
    try:
        return [IPAddress_ID(str(ipaddress.ip_address(domain.strip("[]"))))]
    except ValueError:
        name = ascii_domain(domain)
        return [DNS_ID(name), SRV_ID(f"_xmpp-server.{name}")]
