"""`msgd serve` says where it listens; commands find the running server; SIGHUP reloads or refuses."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from msgd.wire.certificates import self_signed
from tests.cli.command import msgd, msgd_process
from tests.harness import PATIENCE, Msgd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Msgd]:
    made = Msgd(tmp_path / "data")
    made.start()
    yield made
    made.kill()


def wait_until(true: Callable[[], bool]) -> None:
    """Until something is true, which another process makes so."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def presented(server: Msgd) -> bytes:
    """The certificate that the server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(server.address(direct=True), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        shown = encrypted.getpeercert(binary_form=True)
        assert shown is not None
        return shown


def test_it_says_where_it_listens(server: Msgd) -> None:
    state = json.loads((server.data / "server.json").read_text())
    assert state["pid"] == server.pid
    assert state["ports"]["client"] == [list(server.address())]
    assert state["ports"]["client-tls"] == [list(server.address(direct=True))]
    with socket.create_connection(server.address(), PATIENCE):
        pass


def test_it_ends_well(server: Msgd) -> None:
    server.stop()


def test_commands_find_the_server_by_its_data(server: Msgd, tmp_path: Path) -> None:
    added = msgd(tmp_path, "user", "add", "juliet@localhost", typed="secret\n")
    assert (added.code, added.output) == (0, "juliet@localhost can log in\n")
    assert msgd(tmp_path, "user", "list").output == "juliet@localhost\n"
    # Through the console of the running server, so that it holds at once.
    changed = msgd(tmp_path, "user", "disable", "juliet@localhost")
    assert (changed.code, changed.errors) == (0, "")
    refused = msgd(tmp_path, "user", "add", "juliet@localhost", typed="secret\n")
    assert refused.code == 1 and "exists already" in refused.errors
    asked = msgd_process(tmp_path, "console", "user", "list")
    assert asked.code == 0 and "juliet@localhost" in asked.output
    wrong_command = msgd_process(tmp_path, "console", "sesions")
    assert (wrong_command.code, wrong_command.output) == (1, "")
    assert "did you mean `sessions`?" in wrong_command.errors
    piped = msgd_process(tmp_path, "console", "--json", typed="status\nroutes juliet@localhost\n")
    assert [line[:12] for line in piped.output.splitlines()] == ['{"ok": true,'] * 2
    wrong = msgd(tmp_path, "user", "add", "juliet@localhos", typed="secret\n")
    assert "localhos is not a domain of this server" in wrong.errors
    checked = msgd(tmp_path, "check")
    assert (checked.code, checked.output.split("; ")[-1]) == (0, "the server runs\n")


def test_a_second_server_is_refused_in_one_line(server: Msgd, tmp_path: Path) -> None:
    done = msgd_process(tmp_path, "serve", "-c", str(server.configuration))
    assert done.code == 1
    assert done.errors.count("\n") == 1
    assert "is in use by another msgd server" in done.errors


def test_a_certificate_is_renewed_without_a_restart(server: Msgd) -> None:
    before = presented(server)
    certificate, key = self_signed("localhost")
    directory = server.data / "certificates"
    (directory / "localhost.key").write_bytes(key)
    (directory / "localhost.crt").write_bytes(certificate)
    server.reload()
    wait_until(lambda: presented(server) != before)


def test_a_bad_file_is_refused_and_the_old_stays(server: Msgd) -> None:
    good = server.configuration.read_text()
    with socket.create_connection(server.address(), PATIENCE) as client:
        server.configuration.write_text(good + "spool.windwo = 3\n")
        server.reload()
        wait_until(lambda: "did you mean `window`?" in server.tail())
        assert "the old configuration stays" in server.tail()
        server.configuration.write_text(good + "spool.window = 3\nspool.batch = 3\n")
        server.reload()
        wait_until(lambda: "changed: spool.window" in server.tail())
        assert "after a restart: spool.batch" in server.tail()
        # Nobody was dropped.
        client.sendall(b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' "
                       b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")  # fmt: skip
        client.settimeout(PATIENCE)
        assert b"stream:stream" in client.recv(4096)


def test_a_bad_certificate_is_refused_and_the_old_stays(server: Msgd) -> None:
    before = presented(server)
    certificate, key = self_signed("example.net")
    directory = server.data / "certificates"
    old_key = (directory / "localhost.key").read_bytes()
    (directory / "localhost.crt").write_bytes(certificate)
    server.reload()
    wait_until(lambda: "is not the key of localhost.crt" in server.tail())
    assert presented(server) == before
    (directory / "localhost.key").write_bytes(key)
    server.reload()
    wait_until(lambda: "is not for this domain but for example.net" in server.tail())
    assert presented(server) == before
    assert old_key != key
