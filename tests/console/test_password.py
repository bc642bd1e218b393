"""The hashed password of the TCP console."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from msgd.console.password import hash_password, is_password
from tests.cli.command import msgd


def test_a_password_fits_its_own_hash_only() -> None:
    hashed = hash_password("secret")
    assert is_password(hashed, "secret")
    assert not is_password(hashed, "Secret")
    assert hash_password("secret") != hashed
    assert "secret" not in hashed


@pytest.mark.parametrize("hashed", ["", "secret", "scrypt:", "scrypt::", "scrypt:zz:zz", "md5:00:00"])
def test_a_text_that_is_no_hash_fits_nothing(hashed: str) -> None:
    assert not is_password(hashed, "secret")
    assert not is_password(hashed, "")


def test_the_command_prints_the_line_for_the_configuration(tmp_path: Path) -> None:
    done = msgd(tmp_path, "console", "--hash-password", typed="secret\n")
    assert done.code == 0
    assert is_password(tomllib.loads(done.output)["password"], "secret")
    assert msgd(tmp_path, "console", "--hash-password", typed="").code == 1
