"""`msgd` as somebody types it: what it prints, and its exit code."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from msgd.cli import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    output: str
    errors: str


def msgd(directory: Path, *arguments: str, typed: str = "") -> Finished:
    """Run a command that ends by itself, in `directory`; `typed` is its standard input.

    It runs in this process: starting Python takes longer than all the rest.
    """
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(directory),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        mock.patch("sys.stdin", io.StringIO(typed)),
        mock.patch("msgd.cli.settings.PLACES", (Path("msgd.toml"),)),
    ):
        try:
            main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return Finished(code, output.getvalue(), errors.getvalue())


def msgd_process(directory: Path, *arguments: str, typed: str = "") -> Finished:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "msgd", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)
