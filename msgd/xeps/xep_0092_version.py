"""XEP-0092 Software Version: name and version of the server; its operating system by option."""

from __future__ import annotations

import platform
from typing import Final
from xml.etree.ElementTree import Element

from msgd import __version__
from msgd.routing.extension import HOST, Extension, Xep, on_iq
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element

NAMESPACE: Final = "jabber:iq:version"


class SoftwareVersion(Extension):
    """XEP-0092 Software Version."""

    xep = Xep(92, "1.1")
    features = frozenset({NAMESPACE})
    proves = "xep_0092/*"

    @on_iq("get", NAMESPACE, "query", at=(HOST,))
    async def tell_version(self, stanza: Stanza) -> Element:
        """§2; naming the operating system is for the operator to allow (§5)."""
        answer = element(
            NAMESPACE,
            "query",
            None,
            element(NAMESPACE, "name", None, "msgd"),
            element(NAMESPACE, "version", None, __version__),
        )
        if self.config.version.show_os:
            answer.append(element(NAMESPACE, "os", None, platform.system()))
        return answer
