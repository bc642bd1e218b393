"""Input that is almost right: what transcripts send, changed by chance, the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache

from tests.specification.play import is_step
from tests.specification.transcript import find, read

_TIMES = re.compile(r"\{\d+ times: (.*?)\}", re.DOTALL)
_VARIABLE = re.compile(r"\$?\{[^}]*\}")
#: What parsers and those who use them stumble over.
_TOKENS = (
    b"<", b">", b"/", b"'", b'"', b"&", b"=", b" ", b":", b"xmlns=''", b"xmlns:p='urn:p'", b"<p:a/>",
    b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?x?>", b"<!DOCTYPE a [", b"&lt;", b"&#0;", b"&#x10FFFF;",
    b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbf\xbf", b"\xf0\x9f\x91\x8b", b"</stream:stream>",
    b"<stream:stream>", b"<stream:error/>", b"<message>", b"</message>", b"<iq type='set' id='x'>",
    b"</iq>", b"<presence/>", b" from='localhost'", b" to=''", b" to='@'", b" type='error'", b" id=''",
    b"xml:lang='x'", b"4294967296", b"-1", b"A" * 300, b"<a>" * 40, b"</a>" * 40,
)  # fmt: skip


@cache
def corpus() -> tuple[bytes, ...]:
    """Every block that a transcript's client sends, with something for each variable."""
    blocks: dict[bytes, None] = {}
    for path in find():
        for transcript in read(path, is_step):
            for step in transcript.steps:
                if step.sentence.endswith(" sends:") and step.block:
                    text = _TIMES.sub(r"\1\1", step.block)
                    blocks[_VARIABLE.sub("juliet@localhost/orchard", text).encode()] = None
    return tuple(sorted(blocks))


def mutated(chance: random.Random) -> bytes:
    """One or several blocks of the corpus, changed at some places."""
    data = bytearray(b"".join(chance.choices(corpus(), k=chance.randint(1, 3))))
    for _ in range(chance.randint(1, 5)):
        chance.choice(_CHANGES)(chance, data)
    return bytes(data)


def _cut(chance: random.Random, data: bytearray) -> slice:
    at = chance.randrange(len(data) + 1)
    return slice(at, at + int(chance.expovariate(1 / 12)))


def _delete(chance: random.Random, data: bytearray) -> None:
    del data[_cut(chance, data)]


def _repeat(chance: random.Random, data: bytearray) -> None:
    cut = _cut(chance, data)
    data[cut.start : cut.start] = data[cut] * chance.choice((1, 2, 50))


def _insert(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(_TOKENS)


def _flip(chance: random.Random, data: bytearray) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _splice(chance: random.Random, data: bytearray) -> None:
    other = chance.choice(corpus())
    start = chance.randrange(len(other))
    data[_cut(chance, data)] = other[start : start + chance.randrange(1, 200)]


_CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _delete, _repeat, _insert, _insert, _flip, _splice,
)  # fmt: skip
