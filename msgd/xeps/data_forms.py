"""Data forms: written for service discovery, read for whoever must look into one.

Used by the extensions of service discovery. Source: XEP-0004 §3, XEP-0068 §3 (FORM_TYPE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from msgd.wire.xml import element

NAMESPACE = "jabber:x:data"
FORM_TYPE = "FORM_TYPE"


def result_form(form_type: str, fields: Mapping[str, Sequence[str]]) -> Element:
    """A form of type 'result' with this FORM_TYPE; `fields` maps each var to its values."""
    form = element(NAMESPACE, "x", {"type": "result"})
    form.append(_field(FORM_TYPE, [form_type], {"type": "hidden"}))
    for var, values in fields.items():
        form.append(_field(var, values, {}))
    return form


def _field(var: str, values: Sequence[str], attributes: dict[str, str]) -> Element:
    field = element(NAMESPACE, "field", {"var": var, **attributes})
    for value in values:
        field.append(element(NAMESPACE, "value", None, value))
    return field


def read_form(form: Element) -> dict[str, list[str]]:
    """The values of every field of `form` that has a var, FORM_TYPE among them."""
    found: dict[str, list[str]] = {}
    for field in form.iterfind(f"{{{NAMESPACE}}}field"):
        var = field.get("var")
        if var is not None:
            values = [value.text or "" for value in field.iterfind(f"{{{NAMESPACE}}}value")]
            found.setdefault(var, []).extend(values)
    return found
