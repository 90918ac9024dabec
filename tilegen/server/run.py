"""A server that listens, until it is told to stop."""

from __future__ import annotations

import os
import socket

import uvicorn
from starlette.types import ASGIApp

from tilegen.errors import OutputError
from tilegen.server.settings import Settings

_LONGEST_REQUEST_BYTES = 16 << 10
"""Of the request line and the headers."""

_BACKLOG = 128


def bound(host: str, port: int) -> socket.socket:
    """A socket at `host` and `port`, where 0 is any free one.

    Raises:
        OutputError: it is taken, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        # Names that are not found have numbers of their own, below 0.
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number is not None and number > 0 else "there is no such address"
        raise OutputError(f"Cannot listen at {host} port {port}: {reason}. Give another --port or --host.") from error


def run(app: ASGIApp, listening: socket.socket, settings: Settings) -> None:
    """Answer until SIGINT or SIGTERM; what is under way has five seconds to end."""
    config = uvicorn.Config(
        app,
        http="h11",  # bounds what it reads before a request is whole
        h11_max_incomplete_event_size=_LONGEST_REQUEST_BYTES,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # or any client could say that it is another one
        limit_concurrency=2 * settings.most_requests,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # uvicorn has stopped already, and passes the signal on
    finally:
        listening.close()
