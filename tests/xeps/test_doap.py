"""The DOAP file is what the extensions declare."""

from pathlib import Path
from xml.etree import ElementTree

from msgd.routing.extension import Xep
from msgd.xeps import ALL
from msgd.xeps.doap import doap

FILE = Path(__file__).parents[2] / "msgd.doap"
XMPP = "{https://linkmauve.fr/ns/xmpp-doap#}"


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text("utf-8") == doap(), "python -m msgd.xeps.doap > msgd.doap"


def test_every_extension_is_in_it() -> None:
    root = ElementTree.fromstring(doap().encode())
    told = [entry.findtext(f"{XMPP}version") for entry in root.iter(f"{XMPP}SupportedXep")]
    versions = [extension.xep.version for extension in ALL if isinstance(extension.xep, Xep)]
    assert sorted(map(str, told)) == sorted(versions)


def test_what_is_left_out_is_said() -> None:
    root = ElementTree.fromstring(doap().encode())
    partial = {
        (entry.findtext(f"{XMPP}version"), entry.findtext(f"{XMPP}note"))
        for entry in root.iter(f"{XMPP}SupportedXep")
        if entry.findtext(f"{XMPP}status") == "partial"
    }
    without = {(each.xep.version, each.without) for each in ALL if isinstance(each.xep, Xep) and each.without}
    assert partial == without != set()
