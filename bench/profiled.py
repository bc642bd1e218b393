"""Runs `msgd` and looks a thousand times for each second of processor time where it is.

    python -m bench.profiled serve …       # as `msgd serve`; `bench/profile` does all of it

From SIGUSR2 on. At its end it writes to MSGD_PROFILE which functions and modules it was in, and how often;
what C code does counts for the function that called it. It costs some percent, unlike a tracer.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

_INTERVAL: Final = 0.001
_MOST: Final = 45

_functions: Counter[str] = Counter()
_modules: Counter[str] = Counter()


def _name(frame: FrameType) -> tuple[str, str]:
    """Function and module of a frame, without the folders that differ from machine to machine."""
    code = frame.f_code
    path = Path(code.co_filename)
    parts = path.with_suffix("").parts
    for root in ("msgd", "twisted", "OpenSSL", "sqlalchemy"):
        if root in parts[:-1]:
            module = ".".join(parts[len(parts) - 1 - parts[::-1].index(root) :])
            return f"{module}:{code.co_qualname}", module
    return f"{path.stem}:{code.co_qualname}", path.stem


def _sample(number: int, frame: FrameType | None) -> None:
    if frame is not None:
        function, module = _name(frame)
        _functions[function] += 1
        _modules[module] += 1


def _report() -> str:
    total = _functions.total() or 1
    lines = [f"{total} samples, one for each millisecond of processor time", "", "share  module"]
    lines += [f"{100 * count / total:5.1f}  {name}" for name, count in _modules.most_common(_MOST)]
    lines += ["", "share  function (what it calls in C counts for it)"]
    lines += [f"{100 * count / total:5.1f}  {name}" for name, count in _functions.most_common(_MOST)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    from msgd.__main__ import main as msgd

    signal.signal(signal.SIGPROF, _sample)
    signal.signal(signal.SIGUSR2, lambda *_: signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL))
    try:
        msgd()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(os.environ.get("MSGD_PROFILE", "profile.txt")).write_text(_report())


if __name__ == "__main__":
    main()
