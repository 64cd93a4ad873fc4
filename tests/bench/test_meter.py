"""The meter counts all that a command starts, to its end."""

from __future__ import annotations

import sys
import textwrap

import pytest

from bench.meter import WHOLE, MeasuredCommandFailed, Usage, measure

LOOKING = "from contextlib import suppress\nfrom bench.meter import phase"  # the meter looks when a phase begins
BUSY = "t = time.process_time\nend = t() + 0.4\nwhile t() < end: pass"


def _measured(program: str) -> dict[str, Usage]:
    return measure([sys.executable, "-c", f"import os, signal, time\n{textwrap.dedent(program)}"])


def test_the_cpu_of_the_command_is_counted() -> None:
    used = _measured(BUSY)[WHOLE]
    assert 0.4 <= used.cpu_s < 1.5
    assert used.wall_s >= 0.4


def test_an_orphan_is_counted_and_waited_for() -> None:
    program = f"if os.fork() == 0:\n if os.fork() == 0:\n{textwrap.indent(BUSY, '  ')}\n os._exit(0)"
    used = _measured(program)[WHOLE]
    assert 0.4 <= used.cpu_s < 1.5


def test_a_child_that_nobody_waits_for_is_counted() -> None:
    ignoring = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    child = f"if (pid := os.fork()) == 0:\n{textwrap.indent(BUSY, ' ')}\n with phase('look'): os._exit(0)"
    gone = "with suppress(ChildProcessError): os.waitpid(pid, 0)"
    used = _measured(f"{LOOKING}\n{ignoring}\n{child}\n{gone}")[WHOLE]
    assert 0.4 <= used.cpu_s < 1.5  # what it used after the last look is lost


def test_a_phase_is_counted_by_itself() -> None:
    program = f"from bench.meter import phase\n{BUSY}\nwith phase('work'):\n{textwrap.indent(BUSY, '  ')}"
    used = _measured(program)
    assert 0.35 <= used["work"].cpu_s < used[WHOLE].cpu_s - 0.35


def test_the_peak_is_that_of_all_processes_together() -> None:
    hold = "held = b'x' * 200_000_000"
    program = f"{hold}\nif os.fork() == 0:\n more = b'y' * 200_000_000\n with phase('look'): os._exit(0)\nos.wait()"
    assert 500_000_000 < _measured(f"{LOOKING}\n{program}")[WHOLE].peak_bytes < 900_000_000


def test_a_command_that_fails_is_not_measured() -> None:
    with pytest.raises(MeasuredCommandFailed, match="no such thing"):
        _measured("raise SystemExit('no such thing')")
