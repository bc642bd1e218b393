"""XEP-0178 Best Practices for Use of SASL EXTERNAL with Certificates.

The declaration alone: servers prove themselves so, `msgd.negotiation.external` and the two sides of a link
check it. Clients do not log in with certificates.
"""

from msgd.routing.extension import Extension, Xep


class ServerCertificates(Extension):
    """XEP-0178 Best Practices for Use of SASL EXTERNAL with Certificates."""

    xep = Xep(178, "1.2")
    proves = "xep_0178/*"
    without = "Servers alone prove themselves so; clients do not (§2)."
