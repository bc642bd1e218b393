"""SCRAM without accounts: the examples of the RFCs, and messages that are none."""

import base64
import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgd.accounts.credentials import HASHES, Verifier, derive
from msgd.negotiation.failure import SaslFailure
from msgd.negotiation.scram import ScramLogin, parse_client_first
from tests.negotiation.scram_client import ScramClient

# RFC 5802 §5, RFC 7677 §3
EXAMPLES = [
    (
        "SCRAM-SHA-1",
        "QSXCR+Q6sek8bf92",
        "3rfcNHYJY1ZVvWVs7j",
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    (
        "SCRAM-SHA-256",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        (
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        ),
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
]

SALT = b"0123456789abcdef"


@cache
def _verifier(mechanism: str = "SCRAM-SHA-256") -> Verifier:
    return derive(mechanism, b"pencil", SALT, 4096)


def _login(client: ScramClient, binding_data: bytes = b"") -> ScramLogin:
    mechanism = client.mechanism.removesuffix("-PLUS")
    verifier = _verifier(mechanism)
    return ScramLogin(mechanism, parse_client_first(client.first()), verifier, binding_data, "server")


@pytest.mark.parametrize(("mechanism", "salt", "nonce", "first", "challenge", "final", "success"), EXAMPLES)
def test_example_of_the_rfc(
    mechanism: str,
    salt: str,
    nonce: str,
    first: bytes,
    challenge: bytes,
    final: bytes,
    success: bytes,
) -> None:
    verifier = derive(mechanism, b"pencil", base64.b64decode(salt), 4096)
    login = ScramLogin(mechanism, parse_client_first(first), verifier, b"", nonce)
    assert login.challenge == challenge
    assert login.check(final) == success


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0])
def test_the_client_of_these_tests_makes_the_examples(example: tuple[str, ...]) -> None:
    mechanism, _, _, first, challenge, final, success = example
    assert isinstance(first, bytes)
    assert isinstance(challenge, bytes)
    assert isinstance(success, bytes)
    client = ScramClient(mechanism, "user", "pencil", nonce=first.decode().partition("r=")[2])
    assert client.first() == first
    assert client.final(challenge) == final
    client.verify(success)


@pytest.mark.parametrize("mechanism", HASHES)
@pytest.mark.parametrize("plus", ["", "-PLUS"])
def test_right_and_wrong_passwords(mechanism: str, plus: str) -> None:
    client = ScramClient(mechanism + plus, "user", "pencil", "tls-exporter", b"\x00,channel")
    login = _login(client, b"\x00,channel" if plus else b"")
    client.verify(login.check(client.final(login.challenge)))
    client = ScramClient(mechanism + plus, "user", "Pencil", "tls-exporter", b"\x00,channel")
    login = _login(client, b"\x00,channel" if plus else b"")
    with pytest.raises(SaslFailure, match="not-authorized"):
        login.check(client.final(login.challenge))


def test_another_channel_is_refused() -> None:
    client = ScramClient("SCRAM-SHA-256-PLUS", "user", "pencil", "tls-exporter", b"one channel")
    login = _login(client, b"another channel")
    with pytest.raises(SaslFailure, match="not-authorized"):
        login.check(client.final(login.challenge))


def test_a_proof_serves_once() -> None:
    client = ScramClient("SCRAM-SHA-256", "user", "pencil")
    first = parse_client_first(client.first())
    login = ScramLogin("SCRAM-SHA-256", first, _verifier(), b"", "server")
    final = client.final(login.challenge)
    login.check(final)
    with pytest.raises(SaslFailure, match="not-authorized"):
        ScramLogin("SCRAM-SHA-256", first, _verifier(), b"", "Server").check(final)


def _changed_finals(final: str) -> dict[str, str]:
    head, proof = final.rsplit(",p=", 1)
    binding, nonce = head.split(",r=")
    return {
        "nonce of the client alone": f"{binding},r={nonce.removesuffix('server')},p={proof}",
        "short nonce": f"{head[:-1]},p={proof}",
        "long nonce": f"{head}x,p={proof}",
        "another nonce": f"{binding},r={'x' * len(nonce)},p={proof}",
        "another binding": f"c=eSws,r={nonce},p={proof}",
        "empty binding data": f"c=biwsAA==,r={nonce},p={proof}",
        "short proof": f"{head},p=AAAA",
        "proof of another hash": f"{head},p={base64.b64encode(bytes(64)).decode()}",
        "zero proof": f"{head},p={base64.b64encode(bytes(32)).decode()}",
        "extension": f"{head},x=y,p={proof}",
    }


def _malformed_finals(final: str) -> dict[str, str]:
    head, proof = final.rsplit(",p=", 1)
    binding, nonce = head.split(",r=")
    return {
        "empty": "",
        "no proof": head,
        "empty proof": f"{head},p=",
        "proof not base64": f"{head},p=!!!!",
        "proof of odd length": f"{head},p=AAAAA",
        "padding inside": f"{head},p=AA=A",
        "binding not base64": f"c=b,r={nonce},p={proof}",
        "reordered": f"r={nonce},{binding},p={proof}",
        "proof first": f"p={proof},{head}",
        "twice": f"{head},p={proof},p={proof}",
        "proof as an extension": f"{head},p=AAAA,p={proof}",
        "nonce twice": f"{head},r={nonce},p={proof}",
        "behind the proof": f"{head},p={proof},x=y",
        "mandatory extension": f"{head},m=x,p={proof}",
        "mandatory extension first": f"m=x,{head},p={proof}",
        "line end": f"{head},p={proof}\n",
        "NUL": f"{head},x=\0,p={proof}",
        "empty extension": f"{head},x=,p={proof}",
    }


CHANGES = list(_changed_finals("c=biws,r=xserver,p=AAAA"))
MALFORMATIONS = list(_malformed_finals("c=biws,r=xserver,p=AAAA"))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_final_message_is_not_authorized(change: str) -> None:
    client = ScramClient("SCRAM-SHA-256", "user", "pencil")
    login = _login(client)
    final = client.final(login.challenge).decode()
    with pytest.raises(SaslFailure) as failure:
        login.check(_changed_finals(final)[change].encode())
    assert failure.value.condition == "not-authorized"
    assert failure.value.text == ""
    login.check(final.encode())  # it was the change


@pytest.mark.parametrize("change", MALFORMATIONS)
def test_a_malformed_final_message_is_refused(change: str) -> None:
    client = ScramClient("SCRAM-SHA-256", "user", "pencil")
    login = _login(client)
    with pytest.raises(SaslFailure, match="malformed-request"):
        login.check(_malformed_finals(client.final(login.challenge).decode())[change].encode())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"n,,n=user,r=x", ("n", "", "", "user", "x")),
        (b"y,,n=user,r=x", ("y", "", "", "user", "x")),
        (b"p=tls-exporter,,n=user,r=x", ("p", "tls-exporter", "", "user", "x")),
        (b"n,a=a=3Db=2C,n=a=2C=3D=2C,r=~!", ("n", "", "a=b,", "a,=,", "~!")),
        (b"n,,n==3D2C,r=x", ("n", "", "", "=2C", "x")),
        ("n,,n=\u00fc,r=x,x=\u00fc,y=1".encode(), ("n", "", "", "\u00fc", "x")),
    ],
)
def test_first_message_is_read(message: bytes, expected: tuple[str, ...]) -> None:
    first = parse_client_first(message)
    assert (first.flag, first.binding, first.authzid, first.name, first.nonce) == expected
    assert (first.header + first.bare).encode() == message


@pytest.mark.parametrize(
    "message",
    [
        b"", b"n", b"n,,", b"n,n=user,r=x", b",,n=user,r=x", b"x,,n=user,r=x", b"N,,n=user,r=x",
        b"p,,n=user,r=x", b"p=,,n=user,r=x", b"p=tls exporter,,n=user,r=x", b"y=x,,n=user,r=x",
        b"n,a=,n=user,r=x", b"n,user,n=user,r=x", b"n,a=a=b,n=user,r=x",
        b"n,,n=,r=x", b"n,,n=user,r=", b"n,,n=user", b"n,,r=x", b"n,,r=x,n=user",
        b"n,,n=us=er,r=x", b"n,,n=user=,r=x", b"n,,n=us=2cer,r=x", b"n,,n=us\0er,r=x",
        b"n,,n=user,r=a b", b"n,,n=user,r=\xc3\xbc", b"n,,n=user,r=x\n", b"n,,n=\xff,r=x",
        b"n,,m=x,n=user,r=x", b"n,,n=user,r=x,m=x", b"n,,n=user,r=x,n=other", b"n,,n=user,r=x,r=y",
        b"n,,n=user,r=x,x", b"n,,n=user,r=x,1=y", b"n,,n=user,r=x,", b"F,n,,n=user,r=x",
        b"n,,n=user,r=" + b"x" * 257, b"\x00", b"<x/>", b"n" * 8192,
    ],
)  # fmt: skip
def test_what_is_no_first_message_is_refused(message: bytes) -> None:
    with pytest.raises(SaslFailure, match="malformed-request"):
        parse_client_first(message)


@pytest.mark.parametrize(
    "message",
    [
        b"n,,n=" + b"=2C" * 2700 + b"=",
        b"n,,n=user,r=x" + b",x=y" * 2000 + b",",
        b"n," + b"a=" * 4000,
        b"p=" + b"-" * 8190,
    ],
    ids=["name", "extensions", "authzid", "binding"],
)
def test_no_message_takes_long(message: bytes) -> None:
    start = time.process_time()
    with pytest.raises(SaslFailure):
        parse_client_first(message)
    assert time.process_time() - start < 0.02


@given(st.binary(max_size=60), st.text("nyp=,a.rcmx0\0\u00fc", max_size=30))
def test_any_bytes_are_a_message_or_refused(octets: bytes, text: str) -> None:
    login = _login(ScramClient("SCRAM-SHA-1", "user", "pencil"))
    for message in (octets, text.encode()):
        try:
            first = parse_client_first(message)
            assert first.name
            assert first.nonce
        except SaslFailure as failure:
            assert failure.condition == "malformed-request"
        with pytest.raises(SaslFailure):
            login.check(message)
