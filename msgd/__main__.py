"""The `msgd` command."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Serve."""
    from msgd.wire import reactor

    reactor.install()
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from msgd.app import Server, run
    from msgd.config import load

    config = load(Path(sys.argv[sys.argv.index("--config") + 1]))
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)

    def ready(server: Server) -> None:
        words = [
            f"{name}={port.address}:{port.port}"
            for name, ports in server.ports.items()
            for port in ports
        ]
        print("ready", *words, flush=True)

    run(config, ready, lambda server: None)


if __name__ == "__main__":
    main()
