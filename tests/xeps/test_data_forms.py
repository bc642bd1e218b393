"""Data forms are written and read back."""

from msgd.wire.xml import parse, serialise
from msgd.xeps.data_forms import FORM_TYPE, read_form, result_form


def test_a_form_as_bytes() -> None:
    form = result_form("urn:x", {"os": ["<Mac>"], "ip": ["v4", "v6"]})
    assert serialise(form) == (
        b"<x xmlns='jabber:x:data' type='result'>"
        b"<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>"
        b"<field var='os'><value>&lt;Mac&gt;</value></field>"
        b"<field var='ip'><value>v4</value><value>v6</value></field></x>"
    )


def test_what_is_written_is_read() -> None:
    fields = {"os": ["Mac"], "ip": ["v4", "v6"], "empty": [""]}
    form = parse(serialise(result_form("urn:x", fields)))
    assert read_form(form) == {FORM_TYPE: ["urn:x"], **fields}


def test_fields_without_a_name_are_passed_over() -> None:
    form = parse(
        b"<x xmlns='jabber:x:data'><field><value>a note</value></field>"
        b"<field var='v'><value xmlns='other'>no</value></field></x>"
    )
    assert read_form(form) == {"v": []}
