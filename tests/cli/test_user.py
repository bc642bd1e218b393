"""`msgd user`: accounts are made, changed and deleted, and every refusal is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import msgd


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "msgd.toml").write_text('domain = ["localhost", "example.net"]\n')
    return tmp_path


def test_the_life_of_an_account(home: Path) -> None:
    made = msgd(home, "user", "add", "Juliet@localhost", typed="secret\n")
    assert (made.code, made.output) == (0, "juliet@localhost can log in\n")
    assert msgd(home, "user", "add", "romeo@example.net", typed="secret\n").code == 0
    assert msgd(home, "user", "list").output == "juliet@localhost\nromeo@example.net\n"
    assert msgd(home, "user", "list", "example.net").output == "romeo@example.net\n"
    assert msgd(home, "user", "passwd", "juliet@localhost", typed="other\n").code == 0
    assert msgd(home, "user", "disable", "juliet@localhost").code == 0
    assert msgd(home, "user", "list", "localhost").output == "juliet@localhost\tdisabled\n"
    assert msgd(home, "user", "enable", "juliet@localhost").code == 0
    assert msgd(home, "user", "list", "localhost").output == "juliet@localhost\n"
    refused = msgd(home, "user", "delete", "juliet@localhost", typed="n\n")
    assert (refused.code, refused.errors) == (1, "aborted\n")
    assert msgd(home, "user", "delete", "--yes", "juliet@localhost").code == 0
    assert msgd(home, "user", "list", "localhost").output == ""


def test_refusals(home: Path) -> None:
    assert msgd(home, "user", "add", "juliet@localhost", typed="secret\n").code == 0
    for arguments, typed, text in (
        (("add", "juliet@localhost"), "x\n", "the account exists already; choose another name"),
        (("add", "romeo@localhost"), "\n", "there is no password on standard input"),
        (("add", "romeo@localhost"), "\x01\n", "this cannot be a password"),
        (("add", "romeo@nowhere"), "x\n", "nowhere is not a domain of this server (localhost, "),
        (("add", "romeo"), "x\n", "'romeo' is no account; write name@domain"),
        (("add", "romeo@localhost/orchard"), "x\n", "is no account; write name@domain"),
        (("add", "a b@localhost"), "x\n", "'a b@localhost' is no address: "),
        (("passwd", "romeo@localhost"), "x\n", "there is no such account; `msgd user list` shows"),
        (("disable", "romeo@localhost"), "", "there is no such account"),
        (("delete", "--yes", "romeo@localhost"), "", "there is no such account"),
        (("list", "nowhere"), "", "nowhere is not a domain of this server"),
    ):
        done = msgd(home, "user", *arguments, typed=typed)
        assert done.code == 1, arguments
        assert text in done.errors
        assert done.errors.count("\n") == 1
        assert done.output == ""
    assert msgd(home, "user", "list").output == "juliet@localhost\n"


def test_an_account_before_the_first_start(tmp_path: Path) -> None:
    done = msgd(tmp_path, "user", "add", "romeo@localhost", "--data", "here", typed="secret\n")
    assert (done.code, done.output) == (0, "romeo@localhost can log in\n")
    assert (tmp_path / "here" / "msgd.sqlite").stat().st_mode & 0o777 == 0o600


def test_without_configuration_it_says_what_to_write(tmp_path: Path) -> None:
    done = msgd(tmp_path, "user", "list", "--data", "nothing")
    assert done.code == 2
    assert "no server ran on nothing yet" in done.errors
