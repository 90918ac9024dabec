"""What every request must pass before anything is done for it, and what every answer says to browsers."""

from __future__ import annotations

from collections import Counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tilegen.server.settings import MAX_URL_CHARACTERS, Settings

HEADERS = {
    # The page loads nothing from elsewhere, sends nothing elsewhere, and nobody shows it in a frame.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def refused(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that says why, in JSON."""
    return JSONResponse({"error": sentence}, status, headers)


class Guard:
    """ASGI middleware: hosts, methods, bodies, lengths, and how many requests are under way.

    Args:
        app: what to ask once a request has passed.
        settings: the limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        client = scope["client"][0] if scope.get("client") else ""
        refusal = self._refusal(scope) or self._too_many(client)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        self._under_way[client] += 1
        try:
            await self._app(scope, receive, send_guarded)
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]  # or addresses would be kept for ever

    def _refusal(self, scope: Scope) -> Response | None:
        headers, settings = Headers(scope=scope), self._settings
        hosts = headers.getlist("host")
        # Pages of other sites may have names that lead to this machine (DNS rebinding).
        if settings.hosts is not None and (len(hosts) != 1 or _name(hosts[0]) not in settings.hosts):
            return refused(421, "This server does not answer to that name. Start it with --allow-host NAME.")
        methods = {"GET", "HEAD"} | ({"OPTIONS"} if settings.origins else set())
        if scope["method"] not in methods:
            return refused(405, "Only GET is answered here.", {"Allow": ", ".join(sorted(methods))})
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            # What was sent is not read, so the connection is of no more use.
            return refused(413, "A request must not have a body.", {"Connection": "close"})
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL_CHARACTERS:
            return refused(414, f"A URL must not be longer than {MAX_URL_CHARACTERS} characters.")
        return None

    def _too_many(self, client: str) -> Response | None:
        if self._under_way[client] >= self._settings.most_per_client:
            return refused(429, "You ask for too much at a time. Wait for some of it.", {"Retry-After": "1"})
        if self._under_way.total() >= self._settings.most_requests:
            return refused(503, "The server is busy. Ask again in a few seconds.", {"Retry-After": "3"})
        return None


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()
