"""Logging in: mechanisms, user names, authorization identities, channel binding, and who learns what."""

import base64
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from msgd.accounts.accounts import Account
from msgd.accounts.credentials import HASHES
from msgd.accounts.throttle import LoginThrottle
from msgd.negotiation.sasl import (
    LONGEST_MESSAGE,
    Challenge,
    SaslExchange,
    SaslFailure,
    SaslOptions,
    Success,
    advertised_hash,
    channel_binding_feature,
    decode_base64,
    offered_mechanisms,
)
from msgd.wire.jid import JID
from tests.accounts.world import World
from tests.negotiation.scram_client import ScramClient

DOMAIN = "montague.example"
ROMEO = JID.parse("romeo@montague.example")
SCRAM = list(HASHES)
PLUS = [name + "-PLUS" for name in HASHES]


class Channel:
    """A TLS connection's bindings, or those of none."""

    def __init__(self, *types: str) -> None:
        self._types = types

    def types(self) -> tuple[str, ...]:
        return self._types

    def data(self, type: str) -> bytes:
        return f"data of {type}".encode()


TLS = Channel("tls-exporter", "tls-server-end-point")
ALL = offered_mechanisms(TLS.types(), SaslOptions(plain=True))


@pytest.fixture
def romeo(world: World) -> Account:
    """An account with the password "wherefore"."""
    return world.wait(world.accounts.create(ROMEO, "wherefore"))


def _exchange(
    world: World,
    mechanism: str,
    *,
    offered: Sequence[str] = ALL,
    channel: Channel | None = TLS,
    throttle: LoginThrottle | None = None,
    address: str = "192.0.2.1",
) -> SaslExchange:
    return SaslExchange(
        mechanism, DOMAIN, world.accounts, channel, offered, throttle=throttle, address=address
    )


def _say(world: World, exchange: SaslExchange, message: bytes | None) -> bytes:
    answer = world.wait(exchange.respond(message))
    assert isinstance(answer, Challenge)
    return answer.data


def _log_in(world: World, client: ScramClient, exchange: SaslExchange | None = None) -> Account:
    exchange = exchange or _exchange(world, client.mechanism)
    challenge = _say(world, exchange, client.first())
    success = world.wait(exchange.respond(client.final(challenge)))
    assert isinstance(success, Success)
    client.verify(success.data)
    return success.account


def _plain(world: World, message: bytes, throttle: LoginThrottle | None = None) -> Account:
    success = world.wait(_exchange(world, "PLAIN", throttle=throttle).respond(message))
    assert isinstance(success, Success)
    assert success.data == b""
    return success.account


# What is offered


def test_the_strongest_is_offered_first_and_plus_only_with_tls() -> None:
    assert offered_mechanisms(TLS.types()) == PLUS + SCRAM
    assert SCRAM == ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"]
    assert offered_mechanisms((), SaslOptions(plain=True)) == SCRAM
    assert offered_mechanisms(TLS.types(), SaslOptions(plain=True)) == [*PLUS, *SCRAM, "PLAIN"]
    only = SaslOptions(scram=["SCRAM-SHA-1", "SCRAM-SHA-256"])
    assert offered_mechanisms((), only) == ["SCRAM-SHA-256", "SCRAM-SHA-1"]


def test_the_types_of_channel_binding_are_announced() -> None:
    assert channel_binding_feature(TLS.types()) == (
        b"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>"
        b"<channel-binding type='tls-exporter'/>"
        b"<channel-binding type='tls-server-end-point'/>"
        b"</sasl-channel-binding>"
    )
    assert channel_binding_feature(()) == b""


@pytest.mark.parametrize(
    "mechanism", ["PLAIN", "SCRAM-SHA-1", "scram-sha-256", "ANONYMOUS", "EXTERNAL", "", "\0"]
)
def test_what_was_not_offered_cannot_be_used(world: World, mechanism: str) -> None:
    with pytest.raises(SaslFailure) as failure:
        _exchange(world, mechanism, offered=["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
    assert failure.value.condition == "invalid-mechanism"


# Base64


@pytest.mark.parametrize(("text", "message"), [("", None), ("=", b""), ("AGE=", b"\0a"), ("YWJj", b"abc")])
def test_base64_is_decoded(text: str, message: bytes | None) -> None:
    assert decode_base64(text) == message


@pytest.mark.parametrize(
    "text",
    ["==", "A", "AB", "AB=", "ABC", "ABC==", "A B=", "AGE=\n", " AGE=", "AGE", "AG=E", "A-_=",
     "\u00c4GE=", "AGE=AGE=", "====", "=AGE", "AGE==", "\0"],
)  # fmt: skip
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(SaslFailure) as failure:
        decode_base64(text)
    assert failure.value.condition == "incorrect-encoding"


def test_messages_have_a_limit(world: World) -> None:
    longest = base64.b64encode(b"x" * LONGEST_MESSAGE).decode()
    assert decode_base64(longest[: len(longest) // 4 * 4 - 4]) is not None
    with pytest.raises(SaslFailure) as failure:
        decode_base64(longest * 2)
    assert failure.value.condition == "malformed-request"
    with pytest.raises(SaslFailure) as failure:
        world.wait(_exchange(world, "PLAIN").respond(b"\0romeo\0" + b"x" * LONGEST_MESSAGE))
    assert failure.value.condition == "malformed-request"


# SCRAM


@pytest.mark.parametrize("mechanism", SCRAM)
def test_scram_logs_in(world: World, romeo: Account, mechanism: str) -> None:
    assert _log_in(world, ScramClient(mechanism, "romeo", "wherefore")) == romeo


@pytest.mark.parametrize("mechanism", PLUS)
@pytest.mark.parametrize("type", TLS.types())
def test_scram_plus_logs_in(world: World, romeo: Account, mechanism: str, type: str) -> None:
    client = ScramClient(mechanism, "romeo", "wherefore", type, TLS.data(type))
    assert _log_in(world, client) == romeo


def test_the_user_name_is_prepared(world: World, romeo: Account) -> None:
    assert _log_in(world, ScramClient("SCRAM-SHA-1", "\uff32omeo", "wherefore")) == romeo


def test_a_client_without_initial_response_is_asked_for_it(world: World, romeo: Account) -> None:
    exchange = _exchange(world, "SCRAM-SHA-1")
    assert _say(world, exchange, None) == b""
    assert _log_in(world, ScramClient("SCRAM-SHA-1", "romeo", "wherefore"), exchange) == romeo
    exchange = _exchange(world, "SCRAM-SHA-1")
    assert _say(world, exchange, None) == b""
    assert _failure(world, exchange, None) == "malformed-request"


def _failure(world: World, exchange: SaslExchange, message: bytes | None) -> str:
    with pytest.raises(SaslFailure) as failure:
        world.wait(exchange.respond(message))
    return failure.value.condition


def _refused(world: World, client: ScramClient, **options: object) -> str:
    """Return why the first message of `client` is refused."""
    return _failure(world, _exchange(world, client.mechanism, **options), client.first())  # type: ignore[arg-type]  # passed on


def test_wrong_password_unknown_and_disabled_look_the_same(world: World, romeo: Account) -> None:
    world.wait(world.accounts.create(JID.parse("tybalt@montague.example"), "wherefore"))
    world.wait(world.accounts.disable(JID.parse("tybalt@montague.example")))
    seen = []
    for name in ("romeo", "nobody", "tybalt"):
        client = ScramClient("SCRAM-SHA-256", name, "wrong")
        exchange = _exchange(world, "SCRAM-SHA-256")
        challenge = _say(world, exchange, client.first())
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        with pytest.raises(SaslFailure) as failure:
            world.wait(exchange.respond(client.final(challenge)))
        seen.append(
            (
                list(fields),
                len(fields["r"]) - len(client.nonce),
                len(base64.b64decode(fields["s"])),
                fields["i"],
                failure.value.condition,
                failure.value.text,
            )
        )
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][4] == "not-authorized"


def test_a_disabled_account_is_told_to_who_knows_the_password(world: World, romeo: Account) -> None:
    world.wait(world.accounts.disable(ROMEO))
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore")
    exchange = _exchange(world, "SCRAM-SHA-1")
    final = client.final(_say(world, exchange, client.first()))
    assert _failure(world, exchange, final) == "account-disabled"
    with pytest.raises(SaslFailure) as failure:
        _plain(world, b"\0romeo\0wherefore")
    assert failure.value.condition == "account-disabled"


def test_a_change_during_the_login_counts(world: World, romeo: Account) -> None:
    accounts = world.accounts
    changes: list[tuple[Callable[[], Coroutine[Any, Any, None]], str]] = [
        (lambda: accounts.set_password(ROMEO, "new"), "not-authorized"),
        (lambda: accounts.disable(ROMEO), "account-disabled"),
        (lambda: accounts.delete(ROMEO), "not-authorized"),
    ]
    for change, expected in changes:
        client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore")
        exchange = _exchange(world, "SCRAM-SHA-1")
        final = client.final(_say(world, exchange, client.first()))
        world.wait(change())
        assert _failure(world, exchange, final) == expected
        if change is changes[0][0]:
            world.wait(accounts.set_password(ROMEO, "wherefore"))


def test_a_recreated_account_is_not_the_one_of_the_challenge(world: World, romeo: Account) -> None:
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore")
    exchange = _exchange(world, "SCRAM-SHA-1")
    final = client.final(_say(world, exchange, client.first()))
    world.wait(world.accounts.delete(ROMEO))
    world.wait(world.accounts.create(ROMEO, "wherefore"))
    assert _failure(world, exchange, final) == "not-authorized"


def test_a_login_ends_with_its_failure_or_success(world: World, romeo: Account) -> None:
    client = ScramClient("SCRAM-SHA-1", "romeo", "wrong")
    exchange = _exchange(world, "SCRAM-SHA-1")
    challenge = _say(world, exchange, client.first())
    assert _failure(world, exchange, client.final(challenge)) == "not-authorized"
    right = ScramClient("SCRAM-SHA-1", "romeo", "wherefore", nonce=client.nonce)
    assert _failure(world, exchange, right.final(challenge)) == "malformed-request"
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore")
    exchange = _exchange(world, "SCRAM-SHA-1")
    _log_in(world, client, exchange)
    assert _failure(world, exchange, client.first()) == "malformed-request"


def test_a_client_has_to_wait_for_its_turn(world: World, romeo: Account) -> None:
    exchange = _exchange(world, "PLAIN")
    first = world.start(exchange.respond(b"\0romeo\0wherefore"))
    assert _failure(world, exchange, b"\0romeo\0wherefore") == "malformed-request"
    while not first:
        world.turn()
    assert isinstance(first[0], Success)


def test_nonces_are_never_the_same(world: World, romeo: Account) -> None:
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore", nonce="same")
    challenges = {_say(world, _exchange(world, "SCRAM-SHA-1"), client.first()) for _ in range(50)}
    assert len(challenges) == 50
    assert all(len(challenge.split(b",")[0]) == len("r=same") + 24 for challenge in challenges)


def test_replayed_messages_are_worth_nothing(world: World, romeo: Account) -> None:
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore")
    exchange = _exchange(world, "SCRAM-SHA-1")
    final = client.final(_say(world, exchange, client.first()))
    world.wait(exchange.respond(final))
    exchange = _exchange(world, "SCRAM-SHA-1")
    _say(world, exchange, client.first())
    assert _failure(world, exchange, final) == "not-authorized"


# Channel binding


def test_the_client_that_was_robbed_of_plus_is_refused(world: World, romeo: Account) -> None:
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore", flag="y")
    assert _refused(world, client) == "not-authorized"
    exchange = _exchange(world, "SCRAM-SHA-1", offered=SCRAM, channel=None)
    assert _log_in(world, client, exchange) == romeo  # there it was not offered


def test_a_changed_flag_is_found(world: World, romeo: Account) -> None:
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore", flag="y")
    exchange = _exchange(world, "SCRAM-SHA-1")
    challenge = _say(world, exchange, client.first().replace(b"y,", b"n,", 1))
    assert _failure(world, exchange, client.final(challenge)) == "not-authorized"


@pytest.mark.parametrize(
    ("mechanism", "flag"),
    [("SCRAM-SHA-1-PLUS", "n"), ("SCRAM-SHA-1-PLUS", "y"), ("SCRAM-SHA-1", "p=tls-exporter")],
)
def test_flag_and_mechanism_have_to_agree(world: World, mechanism: str, flag: str) -> None:
    client = ScramClient(mechanism, "romeo", "wherefore", flag=flag)
    assert _refused(world, client) == "malformed-request"


@pytest.mark.parametrize("type", ["tls-unique", "tls-server-end-point", "TLS-exporter", "x"])
def test_a_binding_that_the_connection_does_not_have_is_refused(world: World, type: str) -> None:
    client = ScramClient("SCRAM-SHA-1-PLUS", "romeo", "wherefore", type)
    assert _refused(world, client, channel=Channel("tls-exporter")) == "not-authorized"


@pytest.mark.parametrize("data", [b"", b"another channel", TLS.data("tls-server-end-point")])
def test_another_channel_is_refused(world: World, romeo: Account, data: bytes) -> None:
    client = ScramClient("SCRAM-SHA-1-PLUS", "romeo", "wherefore", "tls-exporter", data)
    exchange = _exchange(world, "SCRAM-SHA-1-PLUS")
    challenge = _say(world, exchange, client.first())
    assert _failure(world, exchange, client.final(challenge)) == "not-authorized"


# Authorization identities

FOREIGN = [
    "juliet@montague.example", "romeo@capulet.example", "montague.example", "romeo",
    "romeo@montague.example/orchard", "romeo@", "@", "admin", "romeo@montague.example.evil.example",
    "romeo@montague.example@evil.example", "\u0440omeo@montague.example",
]  # fmt: skip


@pytest.mark.parametrize("authzid", FOREIGN, ids=ascii)
def test_nobody_can_act_as_somebody_else(world: World, romeo: Account, authzid: str) -> None:
    world.wait(world.accounts.create(JID.parse("juliet@montague.example"), "wherefore"))
    for mechanism in (*SCRAM, *PLUS):
        client = ScramClient(mechanism, "romeo", "wherefore", "tls-exporter", authzid=authzid)
        assert _refused(world, client) == "invalid-authzid"
    with pytest.raises(SaslFailure) as failure:
        _plain(world, authzid.encode() + b"\0romeo\0wherefore")
    assert failure.value.condition == "invalid-authzid"


@pytest.mark.parametrize("authzid", ["romeo@montague.example", "ROMEO@Montague.example"])
def test_the_own_bare_address_may_be_named(world: World, romeo: Account, authzid: str) -> None:
    client = ScramClient("SCRAM-SHA-256", "romeo", "wherefore", authzid=authzid)
    assert _log_in(world, client) == romeo
    assert _plain(world, authzid.encode() + b"\0romeo\0wherefore") == romeo


def test_an_added_authzid_is_found(world: World, romeo: Account) -> None:
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore")
    exchange = _exchange(world, "SCRAM-SHA-1")
    changed = client.first().replace(b"n,,", b"n,a=romeo@montague.example,", 1)
    final = client.final(_say(world, exchange, changed))
    assert _failure(world, exchange, final) == "not-authorized"


@pytest.mark.parametrize("name", ["romeo@montague.example", "ro meo", "\u0378", "a/b", "x" * 1024])
def test_what_is_no_user_name_is_not_authorized(world: World, romeo: Account, name: str) -> None:
    assert _refused(world, ScramClient("SCRAM-SHA-1", name, "wherefore")) == "not-authorized"
    with pytest.raises(SaslFailure) as failure:
        _plain(world, f"\0{name}\0wherefore".encode())
    assert failure.value.condition == "not-authorized"


# PLAIN


def test_plain_logs_in(world: World, romeo: Account) -> None:
    assert _plain(world, b"\0romeo\0wherefore") == romeo
    for wrong in (b"\0romeo\0wrong", b"\0nobody\0wherefore", b"\0romeo\0where\nfore"):
        with pytest.raises(SaslFailure) as failure:
            _plain(world, wrong)
        assert (failure.value.condition, failure.value.text) == ("not-authorized", "")


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\0", b"\0\0", b"romeo", b"romeo\0wherefore", b"\0romeo", b"\0romeo\0", b"\0\0wherefore",
        b"\0romeo\0where\0fore", b"\0romeo\0wherefore\0", b"a\0b\0c\0d", b"\0romeo\0\xff",
        b"\xed\xa0\x80\0romeo\0x",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused(world: World, romeo: Account, message: bytes) -> None:
    with pytest.raises(SaslFailure) as failure:
        _plain(world, message)
    assert failure.value.condition == "malformed-request"


def test_plain_takes_as_long_for_nobody(
    world: World, romeo: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from msgd.accounts import credentials

    derived: list[tuple[str, int]] = []
    derive = credentials.derive

    def noted(mechanism: str, password: bytes, salt: bytes, iterations: int) -> credentials.Verifier:
        derived.append((mechanism, iterations))
        return derive(mechanism, password, salt, iterations)

    monkeypatch.setattr(credentials, "derive", noted)
    for message in (b"\0romeo\0wrong", b"\0nobody\0wrong"):
        with pytest.raises(SaslFailure):
            _plain(world, message)
    assert len(derived) == 2
    assert derived[0] == derived[1]


# Failures that are counted


def _fail(world: World, throttle: LoginThrottle, name: str, address: str) -> str:
    client = ScramClient("SCRAM-SHA-1", name, "wrong")
    exchange = _exchange(world, "SCRAM-SHA-1", throttle=throttle, address=address)
    try:
        challenge = _say(world, exchange, client.first())
    except SaslFailure as failure:
        assert "seconds" in failure.text
        return failure.condition
    return _failure(world, exchange, client.final(challenge))


@pytest.mark.parametrize("name", ["romeo", "nobody"])
def test_after_some_failures_logins_are_refused_for_a_while(world: World, romeo: Account, name: str) -> None:
    throttle = LoginThrottle(world, account_burst=3, account_seconds=60)
    for number in range(3):
        assert _fail(world, throttle, name, f"192.0.2.{number}") == "not-authorized"
    assert _fail(world, throttle, name, "192.0.2.9") == "temporary-auth-failure"
    world.now += 60
    assert _fail(world, throttle, name, "192.0.2.9") == "not-authorized"
    with pytest.raises(SaslFailure) as failure:
        _plain(world, f"\0{name}\0wherefore".encode(), throttle)
    assert failure.value.condition == "temporary-auth-failure"


def test_logins_begun_together_do_not_get_more_guesses(world: World, romeo: Account) -> None:
    throttle = LoginThrottle(world, account_burst=3)
    clients = [ScramClient("SCRAM-SHA-1", "romeo", f"guess {number}") for number in range(6)]
    begun = [_exchange(world, "SCRAM-SHA-1", throttle=throttle) for _ in clients]
    finals = [
        client.final(_say(world, exchange, client.first()))
        for client, exchange in zip(clients, begun, strict=True)
    ]
    answers = [_failure(world, exchange, final) for exchange, final in zip(begun, finals, strict=True)]
    assert answers == ["not-authorized"] * 3 + ["temporary-auth-failure"] * 3


def test_success_is_remembered_and_malformed_messages_are_not_counted(world: World, romeo: Account) -> None:
    throttle = LoginThrottle(world, account_burst=1)
    exchange = _exchange(world, "SCRAM-SHA-1", throttle=throttle)
    assert _failure(world, exchange, b"n,,") == "malformed-request"
    exchange = _exchange(world, "SCRAM-SHA-1", throttle=throttle)
    _log_in(world, ScramClient("SCRAM-SHA-1", "romeo", "wherefore"), exchange)
    assert _fail(world, throttle, "romeo", "198.51.100.1") == "not-authorized"
    assert _fail(world, throttle, "romeo", "198.51.100.1") == "temporary-auth-failure"
    exchange = _exchange(world, "SCRAM-SHA-1", throttle=throttle)
    _log_in(world, ScramClient("SCRAM-SHA-1", "romeo", "wherefore"), exchange)


# What is missing is said


def test_without_the_database_a_login_may_be_tried_later(world: World) -> None:
    world.database.close_now()
    client = ScramClient("SCRAM-SHA-1", "romeo", "wherefore")
    assert _refused(world, client) == "temporary-auth-failure"
    with pytest.raises(SaslFailure) as failure:
        _plain(world, b"\0romeo\0wherefore")
    assert failure.value.condition == "temporary-auth-failure"


def test_too_many_passwords_at_once_may_be_tried_later(
    world: World, romeo: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msgd.accounts.accounts.MOST_WAITING", 0)
    with pytest.raises(SaslFailure) as failure:
        _plain(world, b"\0romeo\0wherefore")
    assert failure.value.condition == "temporary-auth-failure"


def test_an_unknown_condition_is_a_defect() -> None:
    with pytest.raises(ValueError, match="condition"):
        SaslFailure("no-such-thing")


# XEP-0474


def test_the_hash_of_what_was_offered_is_that_of_the_specification() -> None:
    offered, bindings = ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"), ("tls-server-end-point", "tls-exporter")
    assert advertised_hash(offered, bindings, "sha1") == "G6k/rBLDqgOhRRaCuuatSDFkJ08="


def test_nobody_takes_something_out_of_the_list(world: World, romeo: Account) -> None:
    """Who changes the list has to change the hash as well, and then the proof does not fit."""
    client = ScramClient("SCRAM-SHA-256", "romeo", "wherefore")
    exchange = _exchange(world, "SCRAM-SHA-256")
    challenge = _say(world, exchange, client.first()).decode()
    told = challenge.rpartition(",h=")[2]
    assert told == advertised_hash(tuple(ALL), TLS.types(), "sha256")
    weaker = advertised_hash(("SCRAM-SHA-256",), (), "sha256")
    final = client.final(challenge.replace(told, weaker).encode())
    with pytest.raises(SaslFailure, match="not-authorized"):
        world.wait(exchange.respond(final))
