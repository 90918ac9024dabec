"""A real S3 server on loopback, moto's, in a process of its own; and a proxy before it that breaks what passes."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_RUNNING = re.compile(rb"Running on (http://127\.0\.0\.1:[0-9]+)")


@contextmanager
def s3_server(**environment: str) -> Iterator[str]:
    """Run a server that forgets everything at the end.

    Args:
        environment: variables of the server, such as INITIAL_NO_AUTH_ACTION_COUNT, after which it asks who is there.

    Yields:
        Its URL.
    """
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=os.environ | environment) as process:
        try:
            assert process.stderr is not None
            said = b""
            while not (match := _RUNNING.search(said)):
                line = process.stderr.readline()
                if not line:
                    raise RuntimeError(f"The S3 server does not start: {said.decode()}")
                said += line
            # It says a line for each request, and would stop when nobody listens.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield match[1].decode()
        finally:
            process.kill()


@dataclass(kw_only=True)
class BrokenWay:
    """A proxy before an S3 server, and how it misbehaves. Tests change it while it runs.

    Args:
        server: URL of the server.
        every: every n-th request fails; 0 for none.
        failures: how they fail, in turn: an HTTP status, or 0 for a connection that ends in mid-request.
        refused: requests whose method and path match it get a 403, whatever their number.
        seen: method and path of all requests.
    """

    server: str
    every: int = 0
    failures: tuple[int, ...] = (503, 500, 0)
    refused: re.Pattern[str] | None = None
    seen: list[str] = field(default_factory=list)
    url: str = ""
    _server: _Server | None = None
    _again: threading.Timer | None = None

    def verdict(self, request: str) -> int | None:
        """How a request fails; None if it does not."""
        self.seen.append(request)
        if self.refused is not None and self.refused.search(request):
            return 403
        number = len(self.seen)
        if self.every and number % self.every == 0:
            return self.failures[number // self.every % len(self.failures)]
        return None

    @contextmanager
    def open(self) -> Iterator[BrokenWay]:
        """Pass requests on while the block lasts."""
        self._start()
        try:
            yield self
        finally:
            if self._again is not None:
                self._again.join()
            self._stop()

    def restart(self, *, after_s: float) -> None:
        """Break all connections, and let nobody answer for so long; then pass on at the same URL as before."""
        self._stop()
        self._again = threading.Timer(after_s, self._start)
        self._again.start()

    def _start(self) -> None:
        class Handler(_Handler):
            way = self

        self._server = _Server(("127.0.0.1", urlsplit(self.url).port or 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def _stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server.cut()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: list[socket.socket] = []

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        assert isinstance(request, socket.socket)
        self._connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that were cut."""

    def cut(self) -> None:
        """Break all connections."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Passes on requests of any method, as they are signed."""

    protocol_version = "HTTP/1.1"
    way: BrokenWay

    def do_GET(self) -> None:
        """Of an object, or a listing."""
        self._pass_on()

    def do_HEAD(self) -> None:
        """Of an object."""
        self._pass_on()

    def do_PUT(self) -> None:
        """Of an object, or a part of one."""
        self._pass_on()

    def do_POST(self) -> None:
        """Of many deletions, or of an upload."""
        self._pass_on()

    def do_DELETE(self) -> None:
        """Of an object, or an upload."""
        self._pass_on()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        verdict = self.way.verdict(f"{self.command} {self.path}")
        if verdict == 0:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif verdict is not None:
            self._answer(verdict, {}, b"")
        else:
            self._relay(body)

    def _relay(self, body: bytes) -> None:
        address = urlsplit(self.way.server).netloc
        # Closed whatever happens: whoever asked may hang up in mid-answer.
        with closing(http.client.HTTPConnection(address, timeout=60)) as server:
            server.request(self.command, self.path, body, dict(self.headers.items()))
            answer = server.getresponse()
            kept = {"content-length", "transfer-encoding", "connection"}
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in kept}
            size = {"Content-Length": answer.getheader("Content-Length", "0")} if self.command == "HEAD" else {}
            self._answer(answer.status, headers | size, answer.read())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
