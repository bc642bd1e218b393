"""The project's DOAP file, written from what the extensions declare (XEP-0453).

`python -m msgd.xeps.doap > msgd.doap`; a test keeps the file as it would be written.
"""

from __future__ import annotations

from typing import Final

from msgd.routing.extension import Extension, Xep
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
    <implements rdf:resource='https://xmpp.org/rfcs/rfc7590.html'/>
    <implements rdf:resource='https://xmpp.org/rfcs/rfc7622.html'/>
"""
_XEP: Final = """\
    <implements>
      <xmpp:SupportedXep>
        <xmpp:xep rdf:resource='https://xmpp.org/extensions/xep-{number:04d}.html'/>
        <xmpp:status>{status}</xmpp:status>
        <xmpp:version>{version}</xmpp:version>{note}
      </xmpp:SupportedXep>
    </implements>
"""
_NOTE: Final = """
        <xmpp:note xml:lang='en'>{text}</xmpp:note>"""
_FOOT: Final = """\
  </Project>
</rdf:RDF>
"""


def doap() -> str:
    """The whole file."""
    entries = sorted((each.xep.number, _entry(each, each.xep)) for each in ALL if isinstance(each.xep, Xep))
    return _HEAD + "".join(entry for _, entry in entries) + _FOOT


def _entry(extension: type[Extension], xep: Xep) -> str:
    return _XEP.format(
        number=xep.number,
        status="partial" if extension.without else "complete",
        version=escape(xep.version),
        note=_NOTE.format(text=escape(extension.without)) if extension.without else "",
    )


if __name__ == "__main__":
    print(doap(), end="")
