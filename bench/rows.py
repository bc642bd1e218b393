"""What the load generator does not measure: idle hours, storms, slow readers, and how things grow.

    python -m bench.rows                      # all of them, some minutes
    python -m bench.rows resume-storm roster  # some

Each prints lines of JSON. The server is one of its own with the normal configuration; its processor time is
that of all of its threads, from the kernel (nanoseconds).
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from bench import growth, storms

ROWS: Final[dict[str, Callable[[Path], Coroutine[Any, Any, None]]]] = {
    "idle-hour": growth.idle_hour,
    "presence-storm": storms.presence_storm,
    "resume-storm": storms.resume_storm,
    "login-storm": storms.login_storm,
    "slow-reader": storms.slow_reader,
    "spool": growth.spool,
    "roster": growth.roster,
}


def main() -> None:
    """The command."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help=f"of {', '.join(ROWS)}")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in given.rows or ROWS:
        with tempfile.TemporaryDirectory(prefix="msgd-bench-") as directory:
            asyncio.run(ROWS[name](Path(directory) / "data"))


if __name__ == "__main__":
    main()
