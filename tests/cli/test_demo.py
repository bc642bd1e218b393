"""`msgd demo` keeps what it says."""

from __future__ import annotations

from pathlib import Path

from tests.cli.command import msgd, msgd_process


def test_the_promise_is_shown(tmp_path: Path) -> None:
    done = msgd_process(tmp_path, "demo")
    assert done.code == 0, done.errors
    story = done.output
    steps = ("two accounts", "the server acknowledges 3", "kill -9", "started again", "Juliet receives")
    assert [story.index(step) for step in steps] == sorted(story.index(step) for step in steps)
    assert "3 of 3 acknowledged messages arrived, in order; nothing was lost" in story
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_answer(tmp_path: Path) -> None:
    helped = msgd(tmp_path, "--help")
    assert helped.code == 0
    for command in ("serve", "check", "user", "console", "demo"):
        assert f"  {command} " in helped.output
    assert msgd(tmp_path, "--version").output.startswith("msgd, version ")
    wrong = msgd(tmp_path, "sevre")
    assert wrong.code == 2
    assert "No such command" in wrong.errors
