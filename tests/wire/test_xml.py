"""Helpers on vetted XML."""

from __future__ import annotations

import pytest

from msgd.wire.xml import parse, text_of


@pytest.mark.parametrize(
    "raw",
    [
        b"<auth xmlns='x'>biws</auth>",
        b"<auth/>",
        b"<auth></auth>",
        b"<auth>=</auth >",
        b"<auth a='>'>x</auth>",
        b'<auth a=">" b="c">x</auth>',
        b"<auth>&lt;&#65;</auth>",
        b"<auth><![CDATA[x]]></auth>",
        b"<auth>a<b/>c</auth>",
        b"<auth><b>c</b></auth>",
        b"<auth>a\r\nb</auth>",
        b"<auth>a>b</auth>",
        "<auth>ü</auth>".encode(),
    ],
)
def test_text_of_an_element(raw: bytes) -> None:
    assert text_of(raw) == (parse(raw).text or "")
