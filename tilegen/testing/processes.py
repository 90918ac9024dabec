"""Real processes to kill: Dask's own commands, clients that write a product, and a wire that can be cut."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tilegen.testing.faults import Controls

_LONGEST_WAIT_S = 90.0


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true in a minute and a half.
    """
    give_up = time.monotonic() + _LONGEST_WAIT_S
    while not is_so():
        if time.monotonic() > give_up:
            raise TimeoutError("It did not happen in time.")
        time.sleep(0.01)


@dataclass(kw_only=True)
class Processes:
    """Processes of a test, killed at its end.

    Args:
        folder: where they leave logs and scratch files.
    """

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """A Python process: `words` as after `python`."""
        with (self.folder / f"process-{len(self.running)}.log").open("wb") as log:
            self.running.append(subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, cwd=self.folder))
        return self.running[-1]

    def dask(self, command: str, *words: str) -> subprocess.Popen[bytes]:
        """A scheduler or a worker."""
        return self.start("-m", f"distributed.cli.dask_{command}", *words, "--no-dashboard")

    def scheduler(self) -> tuple[subprocess.Popen[bytes], str]:
        """A scheduler and its address."""
        card = self.folder / f"scheduler-{len(self.running)}.json"
        process = self.dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(card))
        wait_until(lambda: card.exists() and card.read_bytes())  # it is there before it is written
        return process, str(json.loads(card.read_text())["address"])

    def worker(self, address: str) -> subprocess.Popen[bytes]:
        """A worker of one thread that nobody restarts; it may not have joined yet."""
        words = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        return self.dask("worker", address, *words)

    def client(self, out: Path, controls: Controls, *words: str) -> subprocess.Popen[bytes]:
        """A run of `tilegen.testing.client`."""
        return self.start("-m", "tilegen.testing.client", str(out), controls.folder, *words)

    def stop(self) -> None:
        """Kill what is still there."""
        for process in self.running:
            process.kill()
        for process in self.running:
            process.wait()


class Wire:
    """A TCP port that passes everything on to another one, until it is cut."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("tcp://").partition(":")
        self._target = (host, int(port))
        self._ends: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        """Where to connect to."""
        return f"tcp://127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        """Break all connections; new ones are passed on again."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break all connections and accept no more."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(self._target)
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with ExitStack() as stack:
        stack.enter_context(suppress(OSError))
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
