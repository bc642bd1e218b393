"""Plays a transcript: every sentence a step may be, and what it does. Source: protocol_spec/README.md."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

from tests.specification import sasl2, scene
from tests.specification.actor import SM, Actor, Gone, Server, Unexpected
from tests.specification.component import ComponentActor
from tests.specification.connection import STREAM, BrokenXml, End, Event, Late
from tests.specification.match import (
    CLIENT,
    BadBlock,
    Bindings,
    Recipient,
    match,
    parse_block,
    show,
)
from tests.specification.remote import RemoteServer
from tests.specification.schema import SchemaError, check_nothing
from tests.specification.text import Names, Unbound, unescape
from tests.specification.transcript import Role, Step, Transcript

_WHO = r"(?P<who>[A-Z]\w*)"
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_STEPS: list[tuple[re.Pattern[str], Callable[..., None]]] = []
#: Steps that cannot overtake what somebody else has sent.
_ONLY_LISTENS = re.compile(r" (?:receives|discards)\b|'s (?:stream|connection) ends")
_ERROR = "{urn:ietf:params:xml:ns:xmpp-streams}"


class Failed(Exception):
    """A step did not go as written. `str` is the whole report."""


class Mismatch(Exception):
    """What came is not what was expected."""


def is_step(sentence: str) -> bool:
    """Whether a sentence is one that can be played."""
    return any(pattern.fullmatch(sentence) for pattern, _ in _STEPS)


def _step(pattern: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def declare(function: Callable[..., None]) -> Callable[..., None]:
        _STEPS.append((re.compile(pattern.replace("WHO", _WHO)), function))
        return function

    return declare


class Play:
    """One playing of one transcript against one server."""

    def __init__(
        self,
        transcript: Transcript,
        server: Server,
        token: str,
        check: Callable[[Event, Recipient], None],
        split: bool = False,
    ) -> None:
        self.transcript = transcript
        self.server = server
        self.names = Names(transcript.cast, token)
        self.split = split
        self.cast = {
            name: _actor(role, self.names.local(role), server, check)
            for name, role in transcript.cast.items()
        }
        self._numbers = itertools.count(1)
        self._speaker: Actor | None = None

    def said(self, who: Actor, text: str) -> None:
        """`who` has sent something that may not be handled yet."""
        try:
            parse_block(text)
        except BadBlock:
            self._speaker = None  # nothing of ours may come inside a stanza
        else:
            counted = "urn:xmpp:sm:3" in text  # nor be counted with what the transcript sends
            self._speaker = None if counted else who

    def run(self) -> None:
        """Play it. Raises Failed."""
        step = self.transcript.steps[0]
        try:
            for step in self.transcript.steps:
                self._play(step)
            step = Step("(the end: nothing unclaimed may be left)", step.line)
            self.nothing_left()
        except (Mismatch, Late, Unexpected, BrokenXml, BadBlock, Unbound, SchemaError, OSError) as error:
            raise Failed(self._report(step, error)) from None
        finally:
            for actor in self.cast.values():
                if actor.connection is not None:
                    actor.connection.close()

    def _play(self, step: Step) -> None:
        for pattern, function in _STEPS:
            found = pattern.fullmatch(step.sentence)
            if found:
                arguments: dict[str, Any] = found.groupdict()
                if "who" in arguments:
                    arguments["who"] = self.cast[arguments["who"]]
                if step.block is not None:
                    arguments["step"] = step
                self._let_finish(arguments.get("who"), step.sentence)
                function(self, **arguments)
                return
        raise Mismatch(f"not a step: {step.sentence}")

    def _let_finish(self, who: Actor | None, sentence: str) -> None:
        """What one has sent is handled before another acts."""
        speaker = self._speaker
        if speaker is None or speaker is who or _ONLY_LISTENS.search(sentence):
            return
        self._speaker = None
        if speaker.connected and speaker.bound and not speaker.by_hand:
            self._round_trip(speaker, f"finish-{next(self._numbers)}")

    def _report(self, step: Step, error: Exception) -> str:
        lines = [
            f"{self.transcript.path}:{step.line}: {step.sentence}",
            f"{type(error).__name__}: {error}",
            "",
        ]
        for actor in self.cast.values():
            lines.append(f"{actor.role.name}:")
            lines += actor.log[-14:]
            lines += [f"  unclaimed: {_shown(event)}" for event in actor.unclaimed]
        return self.names.original("\n".join(lines))

    # -- barriers ------------------------------------------------------------------------------

    def barrier(self) -> None:
        """All that was caused until now has arrived when this returns."""
        number = next(self._numbers)
        present = [actor for actor in self.cast.values() if actor.connected and actor.bound]
        plain = [actor for actor in present if not actor.by_hand]
        for actor in present:
            if actor.by_hand:
                actor.write(b"<r xmlns='urn:xmpp:sm:3'/>")
                actor.asked += 1
            else:
                self._ask(actor, f"barrier-{number}")
        for actor in present:
            if actor.by_hand:
                self._until_answered(actor)
            else:
                self._await(actor, {f"barrier-{number}"})
        plain = [actor for actor in plain if actor.bound]
        for sender in plain:
            for recipient in plain:
                if not _speak(sender, recipient):
                    continue
                to = recipient.recipient.full
                id = f"barrier-{number}-{sender.role.name}"
                sender.send(f"<iq type='result' id='{id}' to='{to}'{sender.sender}/>")
        for recipient in plain:
            names = [each.role.name for each in plain if _speak(each, recipient)]
            self._await(recipient, {f"barrier-{number}-{name}" for name in names})

    def _ask(self, actor: Actor, id: str) -> None:
        to = f"to='{self.server.domain}'{actor.sender}"
        actor.send(f"<iq type='get' id='{id}' {to}><ping xmlns='urn:xmpp:ping'/></iq>")

    def _round_trip(self, actor: Actor, id: str) -> None:
        self._ask(actor, id)
        self._await(actor, {id})

    def _await(self, actor: Actor, ids: set[str]) -> None:
        """Wait for answers; an actor whose stream ends instead has nothing more to come."""
        try:
            actor.until_results(ids)
        except Gone:
            actor.bound = False

    def _until_answered(self, actor: Actor) -> None:
        """The answer to the barrier's own `<r/>` is dropped, those before it are not."""
        while actor.asked > 0:
            event = actor.pull()
            if isinstance(event, End):
                raise Unexpected("the stream ended")
        if actor.unclaimed and _tag(actor.unclaimed[-1]) == SM + "a":
            actor.unclaimed.pop()

    def drop_presence(self) -> None:
        """Set-up is not part of what is proven: forget the presence it caused."""
        self.barrier()
        for actor in self.cast.values():
            kept = [
                event
                for event in actor.unclaimed
                if _tag(event) != f"{{{CLIENT}}}presence"
                or not isinstance(event, Element)
                or event.get("type") not in (None, "unavailable")
            ]
            actor.unclaimed.clear()
            actor.unclaimed.extend(kept)

    def nothing_left(self) -> None:
        """At the end nobody has got what the transcript does not tell."""
        self.barrier()
        for actor in self.cast.values():
            self.no_unclaimed(actor)

    def no_unclaimed(self, actor: Actor) -> None:
        """Raises Mismatch when something is."""
        if actor.unclaimed:
            raise Mismatch(f"{actor.role.name} expected nothing more, got: {_shown(actor.unclaimed[0])}")

    # -- expectations --------------------------------------------------------------------------

    def receive(self, actor: Actor, block: str, exact: bool = False, ordered: bool = True) -> None:
        """Claim what the block tells."""
        block = sasl2.fill_proofs(actor, self.names.fill_known(block))
        if block.strip() in ("", "nothing"):
            self.barrier()
            self.no_unclaimed(actor)
            return
        expected = parse_block(block)
        if ordered:
            for element in expected:
                self._claim_next(actor, element, exact)
        else:
            self._claim_any(actor, expected, exact)

    def _claim_next(self, actor: Actor, expected: Element, exact: bool) -> None:
        try:
            event = actor.take()
        except Late as late:
            raise Mismatch(f"{late}\nexpected: {show(expected)}\ngot:      nothing") from None
        bindings, reason = self._match(expected, event, actor, exact)
        if bindings is None:
            raise Mismatch(f"{reason}\nexpected: {show(expected)}\ngot:      {_shown(event)}")
        self.names.values.update(bindings)

    def _claim_any(self, actor: Actor, expected: list[Element], exact: bool) -> None:
        left = list(expected)
        while left:
            try:
                event = actor.take()
            except Late as late:
                wanted = "\n          ".join(map(show, left))
                raise Mismatch(f"{late}\nexpected: {wanted}\ngot:      nothing") from None
            for element in left:
                bindings, _ = self._match(element, event, actor, exact)
                if bindings is not None:
                    self.names.values.update(bindings)
                    left.remove(element)
                    break
            else:
                wanted = "\n          ".join(map(show, left))
                raise Mismatch(f"expected one of: {wanted}\ngot:      {_shown(event)}")

    def _match(
        self, expected: Element, event: Event, actor: Actor, exact: bool
    ) -> tuple[Bindings | None, str]:
        if isinstance(event, End):
            return None, "the stream ended"
        return match(expected, event, self.names.values, actor.recipient, exact)

    def stream_ends(self, actor: Actor, condition: str = "") -> None:
        """Claim the error, if any, the end of the stream and of the connection."""
        if condition:
            event = actor.take()
            if _tag(event) == f"{{{STREAM}}}stream":
                event = actor.take()
            found = [_tag(child) for child in event] if isinstance(event, Element) else []
            if _tag(event) != f"{{{STREAM}}}error" or _ERROR + condition not in found:
                raise Mismatch(f"expected the stream error {condition}\ngot:      {_shown(event)}")
        event = actor.take()
        if not isinstance(event, End):
            raise Mismatch(f"expected the end of the stream\ngot:      {_shown(event)}")
        self.connection_ends(actor)

    def connection_ends(self, actor: Actor) -> None:
        """Claim the end of the connection."""
        actor.await_end()
        self.no_unclaimed(actor)
        actor.bound = False


def _actor(role: Role, local: str, server: Server, check: Callable[[Event, Recipient], None]) -> Actor:
    """Who plays a role."""
    if role.server:
        return RemoteServer(role, local, server, check_nothing)
    return (ComponentActor if role.is_component else Actor)(role, local, server, check)


def _speak(one: Actor, other: Actor) -> bool:
    """Whether our server would pass on what one sends to the other: not between other servers."""
    return not (one.role.server and other.role.server)


def _tag(event: Event) -> str:
    return event.tag if isinstance(event, Element) else ""


def _shown(event: Event) -> str:
    return "</stream:stream>" if isinstance(event, End) else show(event)


# -- setting the scene -----------------------------------------------------------------------------


@_step(r"WHO connects\.")
def _connects(play: Play, who: Actor) -> None:
    who.connect()
    play.names.values[who.role.name] = who.recipient.full


@_step(r"WHO is available(?: with priority (?P<priority>-?\d+))?\.")
def _available(play: Play, who: Actor, priority: str | None) -> None:
    if not who.bound:
        _connects(play, who)
    child = f"<priority>{priority}</priority>" if priority else ""
    who.send(f"<presence>{child}</presence>")
    play.drop_presence()


@_step(r"WHO asks for the roster\.")
def _asks_for_roster(play: Play, who: Actor) -> None:
    who.send("<iq type='get' id='scene-roster'><query xmlns='jabber:iq:roster'/></iq>")
    who.until_result("scene-roster")


@_step(r"WHO is subscribed to (?P<whom>\w+)\.")
def _subscribed(play: Play, who: Actor, whom: str) -> None:
    scene.subscribe(who, play.cast[whom])


@_step(r"WHO and (?P<whom>\w+) are subscribed to each other\.")
def _both_subscribed(play: Play, who: Actor, whom: str) -> None:
    scene.subscribe(who, play.cast[whom])
    scene.subscribe(play.cast[whom], who)


@_step(r"WHO discards what has come\.")
def _discards(play: Play, who: Actor) -> None:
    play.barrier()
    who.unclaimed.clear()


@_step(r"WHO disconnects\.")
def _disconnects(play: Play, who: Actor) -> None:
    who.disconnect()
    if who.unclaimed and isinstance(who.unclaimed[-1], End):
        who.unclaimed.pop()
    play.no_unclaimed(who)


@_step(r"WHO's network drops\.")
def _drops(play: Play, who: Actor) -> None:
    play.no_unclaimed(who)
    who.drop()


@_step(r"WHO resumes\.")
def _resumes(play: Play, who: Actor) -> None:
    who.resume()


@_step(r"WHO acknowledges\.")
def _acknowledges(play: Play, who: Actor) -> None:
    who.acknowledge()


@_step(r"WHO stops acknowledging\.")
def _stops_acknowledging(play: Play, who: Actor) -> None:
    who.acknowledging = False


# -- what is proven --------------------------------------------------------------------------------


@_step(r"WHO sends:")
def _sends(play: Play, who: Actor, step: Step) -> None:
    block = step.block or ""
    if step.language == "bytes":
        text = play.names.fill(block.replace("\n", ""), xml=False)
        who.write(unescape(text), play.split)
    else:
        text = sasl2.fill_proofs(who, play.names.fill(block.strip()))
        who.send(text, play.split)
    play.said(who, text)


@_step(r"WHO receives:")
def _receives(play: Play, who: Actor, step: Step) -> None:
    play.receive(who, step.block or "")


@_step(r"WHO receives in any order:")
def _receives_any(play: Play, who: Actor, step: Step) -> None:
    play.receive(who, step.block or "", ordered=False)


@_step(r"WHO receives exactly:")
def _receives_exactly(play: Play, who: Actor, step: Step) -> None:
    play.receive(who, step.block or "", exact=True)


@_step(r"WHO receives nothing(?: more)?\.")
def _receives_nothing(play: Play, who: Actor) -> None:
    if not (who.connected and who.bound):
        raise Unexpected(f"{who.role.name} has no session, so there is no telling")
    play.barrier()
    play.no_unclaimed(who)


@_step(r"Nobody receives anything(?: more)?\.")
def _nobody_receives(play: Play) -> None:
    play.nothing_left()


@_step(r"WHO's stream ends\.")
def _stream_ends(play: Play, who: Actor) -> None:
    play.stream_ends(who)


@_step(r"WHO's stream ends with the error (?P<condition>[a-z-]+)\.")
def _stream_ends_with(play: Play, who: Actor, condition: str) -> None:
    play.stream_ends(who, condition)


@_step(r"WHO's connection ends\.")
def _connection_ends(play: Play, who: Actor) -> None:
    play.connection_ends(who)


# -- by hand ---------------------------------------------------------------------------------------


@_step(r"WHO opens a connection\.")
def _opens_connection(play: Play, who: Actor) -> None:
    who.open_connection()


@_step(r"WHO opens a direct TLS connection\.")
def _opens_direct(play: Play, who: Actor) -> None:
    who.open_connection(direct=True)


@_step(r"WHO negotiates TLS\.")
def _negotiates(play: Play, who: Actor) -> None:
    who.negotiate_tls()


@_step(r"WHO begins TLS\.")
def _begins_tls(play: Play, who: Actor) -> None:
    who.begin_tls()


@_step(r"WHO opens a stream\.")
def _opens_stream(play: Play, who: Actor) -> None:
    who.open_stream()


@_step(r"WHO begins a new stream\.")
def _begins_stream(play: Play, who: Actor) -> None:
    who.begin_stream()


@_step(r"WHO shakes hands(?: with the secret \"(?P<secret>[^\"]+)\")?\.")
def _shakes_hands(play: Play, who: Actor, secret: str | None) -> None:
    if not isinstance(who, ComponentActor):
        raise Unexpected(f"{who.role.name} is not a component")
    who.shake_hands(secret or who.role.secret)


@_step(r"WHO logs in\.")
def _logs_in(play: Play, who: Actor) -> None:
    who.log_in()


@_step(r"WHO authenticates with:")
def _authenticates(play: Play, who: Actor, step: Step) -> None:
    inline = play.names.fill((step.block or "").strip())
    sasl2.authenticate(who, inline, play.split)
    if who.bound:
        play.names.values[who.role.name] = who.recipient.full


@_step(r"WHO binds the resource (?P<resource>\S+)\.")
def _binds(play: Play, who: Actor, resource: str) -> None:
    who.bind(resource)
    play.names.values[who.role.name] = who.recipient.full


# -- the server ------------------------------------------------------------------------------------


@_step(r"The server is (?P<how>killed|stopped|started)(?P<again> and started)?\.")
def _server(play: Play, how: str, again: str | None) -> None:
    if how == "killed":
        play.server.kill()
        for actor in play.cast.values():
            actor.drop()
            actor.unclaimed.clear()
    elif how == "stopped":
        play.server.stop()
        for actor in play.cast.values():
            if actor.connected:
                actor.await_end()
                actor.bound = False
    if how == "started" or again:
        play.server.start()
        for actor in play.cast.values():
            if actor.connection is not None:
                actor.connection.close()
                _forget_shutdown(actor)


def _forget_shutdown(actor: Actor) -> None:
    """That the server told that it stops need not be claimed."""
    while actor.unclaimed:
        event = actor.unclaimed[-1]
        told = isinstance(event, Element) and event.find(_ERROR + "system-shutdown") is not None
        if not (told or isinstance(event, End)):
            return
        actor.unclaimed.pop()


@_step(r"The clock moves (?P<count>\d+) (?P<unit>second|minute|hour|day)s?\.")
def _clock(play: Play, count: str, unit: str) -> None:
    play.server.advance(int(count) * _UNITS[unit])


@_step(r"The operator enters `(?P<command>[^`]+)`\.")
def _operator(play: Play, command: str) -> None:
    play.server.command(play.names.fill(command, xml=False))


@_step(r"The operator enters `(?P<command>[^`]+)` and reads:")
def _operator_reads(play: Play, command: str, step: Step) -> None:
    answer = play.server.command(play.names.fill(command, xml=False))
    wanted = play.names.fill(step.block or "", xml=False)
    for line in wanted.splitlines():
        pattern = ".*".join(map(re.escape, line.strip().split("{any}")))
        if not re.search(pattern, answer):
            raise Mismatch(f"expected: {line}\ngot:      {answer}")
