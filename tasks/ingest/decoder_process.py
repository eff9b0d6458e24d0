"""A process that decodes, and nothing else: a file that ends it, or takes all memory, ends no more than that.

It imports no model's library, so it is there in a second. Run as a program it is the child, which carries out one
generator after the other and sends on what they give. It is no process of `multiprocessing`: those import the program
of whoever called the build a second time.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tasks.errors import RequestError

_PROJECT_ROOT = Path(__file__).resolve().parents[2]
_GIVEN, _ENDED, _RAISED = range(3)
_END_WITHIN_S = 5.0


class DecoderProcess:
    """A child process that runs generators of ours, one at a time; once it has died `take` raises EOFError."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        python_path = os.pathsep.join(filter(None, [str(_PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
        with theirs:
            # -P: a module that lies in the folder the user stands in is not taken for one of a library's.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.ingest.decoder_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": python_path},
            )
        self.connection = Connection(ours.detach())

    def start(self, generator: Callable[..., Iterator[Any]], *arguments: Any) -> None:
        """Has the child run a generator function of a module, to be taken from."""
        with suppress(OSError):  # dead already: `take` says so
            self.connection.send((generator, arguments))

    def take(self) -> Any:
        """Gives what the generator gives next, or raises what it raised; EOFError when the child is dead."""
        try:
            kind, value = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        if kind == _RAISED:
            raise value
        return value

    def has_ended(self) -> bool:
        """Whether the generator, which has given its last, ends soon: only then may another be started."""
        try:
            return self.connection.poll(_END_WITHIN_S) and self.connection.recv()[0] == _ENDED
        except (EOFError, OSError):
            return False

    def how_it_died(self) -> str:
        """Tells what signal a dead child has died of; RequestError when it could not do its work at all."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_WITHIN_S)  # its connection is shut a moment before
        self.kill()
        code = self._process.returncode
        if code >= 0:
            raise RequestError(f"the process that decodes has ended by itself, with exit code {code}")
        return signal.Signals(-code).name

    def kill(self) -> None:
        """Ends the child, whatever it is at."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


def _serve(connection: Connection) -> None:
    while True:
        try:
            generator, arguments = connection.recv()
        except EOFError:
            return
        try:
            for given in generator(*arguments):
                connection.send((_GIVEN, given))
        except BrokenPipeError:
            return
        except Exception as error:
            connection.send((_RAISED, error))
        else:
            connection.send((_ENDED, None))


def _end_with(connection: Connection) -> None:
    """Ends this process with the one that started it, whatever ended that, and in the middle of a film."""
    watched = select.poll()
    watched.register(connection.fileno(), 0)  # a hang-up is told of unasked
    watched.poll()
    os._exit(1)


def main() -> None:
    """Serves until the other side is gone."""
    import tasks.ingest.decoding  # noqa: F401  # by the child alone, and while what it says of a failure is seen

    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)  # decoders in C complain of bad files there
    connection = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends us
    with suppress(OSError):
        # Where memory runs out the kernel ends this process, not the command.
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(BrokenPipeError):
        _serve(connection)


if __name__ == "__main__":
    main()
