"""What people see: results printed as to a terminal, without the styles that rich adds itself."""

from __future__ import annotations

import io
import re
from typing import Any

from rich.console import Console

# Erase the screen, set the title, turn red, turn the reading direction around, and ask for markup.
HOSTILE = "\x1b[2J\x1b]0;t\x07\x9b31m\u202egnp\u2066\u200b[bold]b[/bold][link=http://x]l[/link]:smile:\r\n\t"
SPELLED = "\\x1b[2J\\x1b]0;t\\x07\\x9b31m\\u202egnp\\u2066\\u200b[bold]b[/bold][link=http://x]l[/link]:smile:\\r\\n\\t"


def shown(result: Any, width: int = 250) -> str:
    """The text of a result on a terminal without colours."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False).print(result)
    return file.getvalue()


def lines(result: Any, width: int = 250) -> list[str]:
    """Its lines, without space at their ends."""
    return [line.rstrip() for line in shown(result, width).splitlines()]


def cells(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [cell.strip() for cell in re.split("[\u2502\u2503]", line)]
