"""Signals that ask a run to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP."""

import signal
import threading

__all__ = ["Interrupted", "Signals"]


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Args:
        number: int, number of the signal.

    Attributes:
        signal: `signal.Signals`, the signal.
    """

    def __init__(self, number: int):
        self.signal = signal.Signals(number)
        super().__init__(f"interrupted by {self.signal.name}")


class Signals:
    """Context in which a signal raises `Interrupted`, at once or after a step.

    While `wait` is True, the first signal is only kept in `received`, and a second one
    raises at once. Whoever has set `wait` calls `raise_received` as soon as the work of
    the step is on the disk. A signal that the process ignores, as under `nohup`, stays
    ignored. Python allows handlers of signals in the main thread only; in any other
    thread, the context does nothing.

    Attributes:
        wait: bool, whether the first signal is to be kept; False at the start.
        received: int, number of the signal that was kept, or None.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self):
        self.wait = False
        self.received = None
        self._before = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in self._NUMBERS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if not self.wait or self.received is not None:
            raise Interrupted(number)
        self.received = number

    def raise_received(self) -> None:
        """Raise `Interrupted` if a signal was kept.

        Raises:
            Interrupted: a signal was kept.
        """
        if self.received is not None:
            raise Interrupted(self.received)
