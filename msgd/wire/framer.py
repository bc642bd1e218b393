"""A framer: finds the elements of one XML stream in its bytes, and keeps those bytes as they came.

One framer serves every entrance. It checks well-formedness and namespaces with expat, and holds every
limit while it reads.
"""

from __future__ import annotations

import pyexpat
from dataclasses import dataclass
from typing import Final

from msgd.wire import expat
from msgd.wire.errors import StreamError
from msgd.wire.xml import CLIENT_NAMESPACE, START_TAG, STREAM_NAMESPACE

CLIENT_HEADER: Final = (
    f"<stream:stream xmlns='{CLIENT_NAMESPACE}' xmlns:stream='{STREAM_NAMESPACE}'>".encode()
)
#: Bytes after which it should be replaced, so that expat forgets the names that strangers gave.
_LIFE: Final = 1024 * 1024
#: How often the bytes of one element are read again on a build of expat that holds tokens back.
_REREADS: Final = 32
#: Attributes of one element; more serve nobody.
MAX_ATTRIBUTES: Final = 64
#: Elements within elements; real clients stay below 20.
MAX_DEPTH: Final = 64

#: One element of the stream: expanded name, attributes, expanded names of its children, its bytes.
Frame = tuple[str, dict[str, str], tuple[str, ...], bytes]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one element of a stream may hold: bytes, and elements within it."""

    size: int
    elements: int


class Framer:
    """One expat parser inside a stream header, and the bytes of the element it is inside of."""

    __slots__ = ("_events", "_offset", "_parse", "_parser", "_wary", "failure", "header", "held",
                 "idle", "limits", "pending", "rereads", "spent")  # fmt: skip

    def __init__(self, header: bytes = CLIENT_HEADER) -> None:
        self.header = header
        self.pending = b""  # of the unfinished element
        self.held = b""  # not yet given to expat (only where it holds tokens back)
        self.limits = Limits(0, 0)
        self.rereads = 0
        self.idle = True  # between two elements
        self.spent = False  # it has read the end of a stream, or enough
        self._wary = False  # there may be braces in what was read of the element
        self.failure: StreamError | None = None  # what ends the stream behind the last elements
        self._start()

    def _start(self) -> None:
        parser = expat.new_parser()
        events: list[tuple[str, dict[str, str], list[str], int, int]] = []
        depth = 0
        elements = 0
        start = 0
        name = ""
        attributes: dict[str, str] = {}
        children: list[str] = []

        def on_start(tag: str, found: dict[str, str]) -> None:
            nonlocal depth, elements, start, name, attributes, children
            if depth == 1:
                start = parser.CurrentByteIndex
                name = tag
                attributes = found
                children = []
                elements = 1
            else:
                if depth == 2:
                    children.append(tag)
                elif depth > MAX_DEPTH:
                    raise StreamError("policy-violation", f"elements nest deeper than {MAX_DEPTH}")
                elements += 1
                if elements > self.limits.elements and self.limits.elements:
                    raise StreamError("policy-violation", f"more than {self.limits.elements} elements in one")
            depth += 1
            if len(found) > MAX_ATTRIBUTES:
                raise StreamError("policy-violation", f"more than {MAX_ATTRIBUTES} attributes")

        def on_end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            if depth > 1:
                return
            if depth == 1:
                events.append((name, attributes, children, start, parser.CurrentByteIndex))
            else:
                events.append(("", {}, [], parser.CurrentByteIndex, -1))

        parser.StartElementHandler = on_start
        parser.EndElementHandler = on_end
        parser.Parse(self.header, False)
        self._parser = parser
        self._parse = parser.Parse
        self._events = events
        self._offset = len(self.header)  # of the first byte of `pending` within what expat read

    def release(self) -> None:
        """It is used no more: parser and functions refer to each other, and would wait for the collector."""
        self._parser.StartElementHandler = self._parser.EndElementHandler = None

    def feed(self, data: bytes) -> list[Frame]:
        """The elements completed by `data`; an empty name stands for the end of the stream.

        Raises `StreamError`, or leaves it in `failure` when there are elements before the fault.
        """
        if expat.HOLDS_TOKENS_BACK:
            data = self._hold(data)
            if self.held:
                self.idle = False
            if not data:
                return []
        if self._give(data) and self.idle:
            frame = self._whole(data)
            if frame is not None:
                return [frame]
        if self.pending:
            data = self.pending + data
        if expat.HOLDS_TOKENS_BACK and not self._events and data.endswith(b">"):
            self._reread(data)
        frames: list[Frame] = []
        done = self._cut(data, frames) if self._events else 0
        if self.failure is not None:
            self.idle = False
            if frames:
                return frames
            raise self.failure
        size = len(data)
        if frames:
            self.rereads = 0
        if done != size and data[done:].isspace():
            done = size
        self._offset += done
        if self._offset > _LIFE:
            self.spent = True
        self.idle = done == size and not self.held
        if self.idle:
            self.pending = b""
            if self._wary:
                self._parser.StartNamespaceDeclHandler = None
                self._wary = False
        else:
            self._keep(data[done:])
        return frames

    def _whole(self, data: bytes) -> Frame | None:
        """`data` as one element, which most of what clients send is: then nothing is copied out of it.

        None where it is more than that, or less. Expat read one element in it, or the end of the stream.
        """
        name, attributes, children, start, end = self._events[0]
        offset, size = self._offset, len(data)
        if not name or start != offset or size > self.limits.size:
            return None
        end -= offset
        # Of `<an-empty/>` one this is behind it. No end tag follows there: it would have been read as well.
        if end != size and not (data[end : end + 2] == b"</" and data.find(b">", end) == size - 1):
            return None
        self._events.clear()
        self._offset = offset + size
        if offset > _LIFE:
            self.spent = True
        return name, attributes, tuple(children), data

    def _keep(self, rest: bytes) -> None:
        """What is left is the beginning of an element. Raises StreamError."""
        if len(rest) + len(self.held) > self.limits.size:
            raise too_big(self.limits)
        if rest and not rest.lstrip().startswith(b"<"):
            raise StreamError("bad-format", "text between the elements of the stream")
        self.pending = rest

    def _cut(self, data: bytes, frames: list[Frame]) -> int:
        """Add what expat found in `data`; where the last of it ends. Raises StreamError."""
        largest, offset = self.limits.size, self._offset
        done = 0
        for name, attributes, children, start, end in self._events:
            start -= offset
            if start != done and not data[done:start].isspace():
                raise StreamError("bad-format", "text between the elements of the stream")
            if not name:
                frames.append(("", {}, (), b""))
                done = len(data)
                self.spent = True
                break
            end -= offset
            # expat tells the start of the end tag, or what is behind the '/>' of <an-empty/> one;
            # the latter may be the end tag of the stream.
            if data[end : end + 2] == b"</" and not (data[end - 2] == 0x2F and _is_one_tag(data[start:end])):
                done = data.index(b">", end) + 1
            else:
                done = end
            frames.append((name, attributes, tuple(children), data[start:done]))
            if done - start > largest:
                raise too_big(self.limits)
        self._events.clear()
        return done

    def _give(self, data: bytes) -> bool:
        """Let expat read; a fault is kept until what came before it has been handled.

        Whether there was nothing to look at more closely, and one event.
        """
        plain = True
        # Numbers, as Python looks for a byte some ten times as fast as for a string of one.
        if 0x7D in data or 0x26 in data:  # "}" itself, or "&", as which it may be written
            self._parser.StartNamespaceDeclHandler = expat.refuse_braces
            self._wary = True
            plain = False
        try:
            self._parse(data, False)
        except pyexpat.ExpatError as error:
            if not (self._events and self._events[-1][-1] < 0):  # nothing counts behind the end
                self.failure = expat.translate(error, self.pending + data)
                plain = False
        except StreamError as error:
            self.failure = error
            plain = False
        return plain and len(self._events) == 1

    def _hold(self, data: bytes) -> bytes:
        """Keep an unfinished tag back: this expat would not tell when it is finished."""
        data = self.held + data
        cut = data.rfind(b">") + 1
        self.held = data[cut:]
        if len(self.held) + len(self.pending) > self.limits.size:
            raise too_big(self.limits)
        if self.held.isspace():
            cut, self.held = len(data), b""
        return data[:cut]

    def _reread(self, data: bytes) -> None:
        """Nothing came of bytes that end a tag: read the unfinished element from its start."""
        if self.rereads >= _REREADS:
            raise StreamError("policy-violation", "the element comes in too many pieces")
        self.rereads += 1
        self._start()
        self._give(data)


def _is_one_tag(data: bytes) -> bool:
    """Whether `data`, which begins with a tag, is one empty element."""
    if b"<" in data[1:]:
        return False
    tag = START_TAG.match(data)  # text may end like a tag
    return tag is not None and tag.end() == len(data)


def too_big(limits: Limits) -> StreamError:
    return StreamError("policy-violation", f"an element is larger than {limits.size} bytes")
