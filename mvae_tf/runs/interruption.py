"""Signals that ask a run to end: Ctrl-C, SIGTERM of a batch system, SIGHUP."""

import signal
import threading

__all__ = ["Interrupted", "Signals"]


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        signal: the `signal.Signals`.
    """

    def __init__(self, number: int):
        self.signal = signal.Signals(number)
        super().__init__(f"interrupted by {self.signal.name}")


class Signals:
    """Context in which a signal raises `Interrupted`, at once or after the step.

    While `wait` is set, the first signal is kept in `received`, for whoever set it to
    raise when the work of the step is safe; a second one raises at once. A signal that
    the process ignores, as under `nohup`, stays ignored. Handlers belong to the main
    thread, so that nothing changes in any other.
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
        """Raises `Interrupted` if a signal was kept."""
        if self.received is not None:
            raise Interrupted(self.received)
