"""The project's DOAP file, written from what the extensions declare (XEP-0453).

`python -m msgd.xeps.doap > msgd.doap`; a test keeps the file as it would be written.
"""

from __future__ import annotations

from typing import Final

from msgd.routing.extension import Xep
from msgd.wire.xml import escape
from msgd.xeps import ALL

_HEAD: Final = """\
<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns='http://usefulinc.com/ns/doap#'
         xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>msgd</name>
    <shortdesc xml:lang='en'>A messaging server on XMPP</shortdesc>
    <programming-language>Python</programming-language>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
    <implements rdf:resource='https://xmpp.org/rfcs/rfc6120.html'/>
    <implements rdf:resource='https://xmpp.org/rfcs/rfc6121.html'/>
    <implements rdf:resource='https://xmpp.org/rfcs/rfc7622.html'/>
"""
_XEP: Final = """\
    <implements>
      <xmpp:SupportedXep>
        <xmpp:xep rdf:resource='https://xmpp.org/extensions/xep-{number:04d}.html'/>
        <xmpp:status>complete</xmpp:status>
        <xmpp:version>{version}</xmpp:version>
      </xmpp:SupportedXep>
    </implements>
"""
_FOOT: Final = """\
  </Project>
</rdf:RDF>
"""


def doap() -> str:
    """The whole file."""
    xeps = sorted(
        (extension.xep for extension in ALL if isinstance(extension.xep, Xep)),
        key=lambda xep: xep.number,
    )
    entries = [_XEP.format(number=xep.number, version=escape(xep.version)) for xep in xeps]
    return _HEAD + "".join(entries) + _FOOT


if __name__ == "__main__":
    print(doap(), end="")
