"""Progress on stderr: coloured on a terminal, plain lines elsewhere."""

import sys
import time


class Progress:
    """Lines with the seconds since the start in front."""

    def __init__(self, who: str = "") -> None:
        self._who = who
        self.begin_s = time.monotonic()
        self._console = None
        if sys.stderr.isatty():
            try:
                from rich.console import Console  # noqa: PLC0415
            except ImportError:
                pass
            else:
                self._console = Console(stderr=True, highlight=False)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begin_s

    def say(self, text: str) -> None:
        """One line, with who says it if there are several."""
        text = self._who + text
        stamp = f"{self.elapsed_s:7.1f} s"
        if self._console is not None:
            self._console.print(f"[dim]{stamp}[/dim]  {text}")
        else:
            sys.stderr.write(f"{stamp}  {text}\n")
            sys.stderr.flush()
