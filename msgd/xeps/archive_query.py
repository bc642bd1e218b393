"""What a client asks its archive for: the form, ids and times of XEP-0313 §4, and the page of XEP-0059."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.spool.archive_store import END, Query
from msgd.spool.entry import id_at_millisecond
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element, serialise
from msgd.xeps import data_forms
from msgd.xeps.xep_0059_result_sets import wanted

if TYPE_CHECKING:
    from msgd.config import Config
    from msgd.routing.account import LiveAccount

NAMESPACE: Final = "urn:xmpp:mam:2"
#: Characters of a time that are looked at.
_LONGEST_TIME: Final = 40
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

#: The fields of the form with their types (§4.1.5).
_FIELDS: Final = {
    "with": "jid-single",
    "start": "text-single",
    "end": "text-single",
    "before-id": "text-single",
    "after-id": "text-single",
    "ids": "list-multi",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A query: the `whole` of what matches, the part of it where the `page` is, and how that is sent."""

    whole: Query
    page: Query
    backwards: bool
    most: int
    flipped: bool
    query_id: str | None


def read(stanza: Stanza, account: LiveAccount, config: Config) -> Asked:
    """What the IQ `stanza` asks the archive of `account` for. Raises StanzaError."""
    query = stanza.payload
    if query is None:  # the dispatch found it by its name
        raise StanzaError("bad-request")
    if query.get("node") is not None:
        raise StanzaError("item-not-found", "an account has one archive, without nodes")
    most = config.archive.most_per_page
    page = wanted(query, most)
    whole = _filtered(account, _fields(query), most)
    part = whole
    if page.after:
        after = _id(page.after)
        part = replace(part, after=max(part.after, after), known=part.known | {after})
    if page.before:
        before = _id(page.before)
        part = replace(part, before=min(part.before, before), known=part.known | {before})
    flipped = query.find(f"{{{NAMESPACE}}}flip-page") is not None
    return Asked(whole, part, page.backwards, page.most, flipped, query.get("queryid"))


def _fields(query: Element) -> dict[str, list[str]]:
    """The fields of the form, if there is one."""
    forms = query.findall(f"{{{data_forms.NAMESPACE}}}x")
    if not forms:
        return {}
    if len(forms) > 1 or forms[0].get("type") != "submit":
        raise StanzaError("bad-request", "one form of type 'submit'")
    fields = data_forms.read_form(forms[0])
    if fields.pop(data_forms.FORM_TYPE, None) != [NAMESPACE]:
        raise StanzaError("bad-request", f"the form's FORM_TYPE is {NAMESPACE}")
    if not fields.keys() <= _FIELDS.keys():
        raise StanzaError("feature-not-implemented", "the form has a field that is unknown here")
    return fields


def _filtered(account: LiveAccount, fields: Mapping[str, list[str]], most: int) -> Query:
    """§4.1: everything that matches the form."""
    whole = Query(account.id, 0, END)
    with_ = _one(fields, "with")
    if with_ is not None:
        whole = replace(whole, peer=_address(with_))
    start, end = _one(fields, "start"), _one(fields, "end")
    if start is not None:
        whole = replace(whole, after=_not_before(start) - 1)
    if end is not None:
        whole = replace(whole, before=_not_after(end))
    after, before = _one(fields, "after-id"), _one(fields, "before-id")
    if after is not None:
        id = _id(after)
        whole = replace(whole, after=max(whole.after, id), known=whole.known | {id})
    if before is not None:
        id = _id(before)
        whole = replace(whole, before=min(whole.before, id), known=whole.known | {id})
    if "ids" in fields:
        if len(fields["ids"]) > most:
            raise StanzaError("policy-violation", f"at most {most} ids at a time")
        ids = frozenset(map(_id, fields["ids"]))
        whole = replace(whole, ids=ids, known=whole.known | ids)
    return whole


def _one(fields: Mapping[str, list[str]], name: str) -> str | None:
    values = fields.get(name)
    if values is None:
        return None
    if len(values) != 1:
        raise StanzaError("bad-request", f"'{name}' has one value")
    return values[0]


def _address(text: str) -> JID:
    try:
        return JID.parse(text)
    except JIDError as error:
        raise StanzaError("jid-malformed", str(error)) from None


def _id(text: str) -> int:
    """The number behind an id of ours. An id of any other form was never given to a message."""
    try:
        id = int(text, 16) if len(text) <= 16 else 0
    except ValueError:
        id = 0
    if not 0 < id < END or f"{id:x}" != text:
        raise StanzaError("item-not-found", "the archive has no message with this id")
    return id


def _moment(text: str) -> timedelta:
    """A time as XEP-0082 §3.2 writes it, since 1970."""
    try:
        if len(text) > _LONGEST_TIME or "T" not in text:
            raise ValueError
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return moment - _BEGINNING
    except (ValueError, OverflowError):
        raise StanzaError("bad-request", "a time is written as in 2026-11-24T03:04:05Z") from None


def _not_before(text: str) -> int:
    """The smallest id of a message received at this time or later. What is shown has milliseconds."""
    return id_at_millisecond(-(-_moment(text) // _MILLISECOND))


def _not_after(text: str) -> int:
    """The smallest id of a message received later than this."""
    return id_at_millisecond(_moment(text) // _MILLISECOND + 1)


def _form() -> bytes:
    """§4.1.5: all fields that may be in a query; of ids any may be named (XEP-0122)."""
    query = element(NAMESPACE, "query")
    form = element(data_forms.NAMESPACE, "x", {"type": "form"})
    hidden = element(data_forms.NAMESPACE, "field", {"var": data_forms.FORM_TYPE, "type": "hidden"})
    hidden.append(element(data_forms.NAMESPACE, "value", None, NAMESPACE))
    form.append(hidden)
    for name, kind in _FIELDS.items():
        field = element(data_forms.NAMESPACE, "field", {"var": name, "type": kind})
        if kind == "list-multi":
            validation = "http://jabber.org/protocol/xdata-validate"
            validate = element(validation, "validate", {"datatype": "xs:string"})
            validate.append(element(validation, "open"))
            field.append(validate)
        form.append(field)
    query.append(form)
    return serialise(query)


#: The empty form.
FORM: Final = _form()
