"""Injects disk faults into a real process: disk full, failing fsync, SIGKILL at a chosen write.

`shim.c` is compiled once for each test run and preloaded into the process under test; what it does is
changed while the process runs. Example:

    faults = Faults(tmp_path / "control", under=data_directory)
    process = subprocess.Popen([...], env={**os.environ, **faults.environment})
    faults.fail("sync", errno.EIO)
    ...
    faults.clear()
"""

import errno
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

Call = Literal["sync", "write"]


@cache
def library() -> Path:
    """Return the compiled shim. Skips the test where it cannot be had, with the reason."""
    if not sys.platform.startswith("linux"):
        pytest.skip("disk faults are injected with LD_PRELOAD and /proc, which only Linux has")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc, clang): disk faults cannot be injected")
    target = Path(tempfile.mkdtemp(prefix="msgd-faults-")) / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", target, source], check=True)
    return target


class Faults:
    """The switch for the faults of one process. `under` is the directory whose files fail."""

    def __init__(self, control: Path, *, under: Path) -> None:
        self._control = control
        #: To be added to the environment of the process.
        self.environment = {
            "LD_PRELOAD": str(library()),
            "MSGD_FAULTS_CONTROL": str(control),
            "MSGD_FAULTS_UNDER": str(under.resolve()),
        }

    def fail(self, call: Call, error: int = errno.EIO, *, skip: int = 0) -> None:
        """Let every `call` after the next `skip` fail with `error` (errno), until `clear`."""
        self._set(f"{call} {error} {skip}")

    def disk_full(self) -> None:
        """Let every write fail for want of space, until `clear`."""
        self.fail("write", errno.ENOSPC)

    def kill(self, call: Call, *, skip: int = 0) -> None:
        """Kill the process instead of the `call` that comes after the next `skip`."""
        self._set(f"{call} kill {skip}")

    def kill_after(self, call: Call, *, skip: int = 0) -> None:
        """Kill the process right after that `call` has succeeded."""
        self._set(f"{call} kill-after {skip}")

    def clear(self) -> None:
        """End the faults."""
        self._control.unlink(missing_ok=True)

    def _set(self, rule: str) -> None:
        # In one step: the process must never read half a rule.
        new = self._control.with_suffix(".new")
        new.write_text(rule, "ascii")
        new.replace(self._control)
