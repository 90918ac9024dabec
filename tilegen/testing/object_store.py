"""An S3 server on loopback, as much of one as an anonymous reader sees, that can be told to fail."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One version of an object.

    Args:
        content: its bytes.
        part_bytes: size of the parts that it was uploaded in; None for one piece.
        etag: without quotation marks; empty for that of Amazon, which is an MD5.
        sha256: whether the server knows this checksum of it.
        listed_bytes: what a listing says of its size; None for the truth.
    """

    content: bytes
    part_bytes: int | None = None
    etag: str = ""
    sha256: bool = False
    listed_bytes: int | None = None

    def headers(self) -> dict[str, str]:
        """What the server says of it."""
        said = {"ETag": f'"{self.etag or self._md5()}"', "Accept-Ranges": "bytes"}
        if self.sha256:
            said["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(self.content).digest()).decode()
        return said

    def listed_size(self) -> int:
        """What a listing says of its size."""
        return len(self.content) if self.listed_bytes is None else self.listed_bytes

    def _md5(self) -> str:
        if self.part_bytes is None:
            return hashlib.md5(self.content, usedforsecurity=False).hexdigest()
        starts = range(0, len(self.content), self.part_bytes)
        parts = [hashlib.md5(self.content[start : start + self.part_bytes]).digest() for start in starts]
        return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


@dataclass(kw_only=True)
class ObjectStore:
    """What the server has, and how it misbehaves. Tests change it while the server runs.

    Args:
        bucket: its only one.
        objects: by key.
        page_keys: most keys in one page of a listing.
        cuts: for each of the next downloads, after how many bytes of its body the connection is cut.
        failures: statuses that the next requests get, whatever they ask for.
        replacements: for each of the next downloads, what takes the object's place once it has ended.
        has_ranges: whether parts of an object can be asked for.
        downloads: keys and ranges that were asked for.
    """

    bucket: str
    objects: dict[str, StoredObject] = field(default_factory=dict)
    page_keys: int = 2
    cuts: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    replacements: list[StoredObject] = field(default_factory=list)
    has_ranges: bool = True
    downloads: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def listing(self, prefix: str, token: str) -> bytes:
        """One page of ListObjectsV2; the token is the last key of the page before."""
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > token)
        page, rest = keys[: self.page_keys], keys[self.page_keys :]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>{escape(self.objects[key].headers()['ETag'])}</ETag>"
            f"<Size>{self.objects[key].listed_size()}</Size></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if rest else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{'true' if rest else 'false'}</IsTruncated>{entries}{more}</ListBucketResult>"
        ).encode()


@contextmanager
def serving(store: ObjectStore) -> Iterator[ObjectStore]:
    """Run the server; `store.url` is where."""

    class Handler(_Handler):
        pass

    Handler.store = store
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of the bucket and of its objects."""

    protocol_version = "HTTP/1.1"
    timeout = 10  # of idle connections; tests close theirs
    store: ObjectStore

    def do_HEAD(self) -> None:
        """Headers of an object, or of its first part."""
        found, query = self._found()
        if found is not None:
            is_part = "partNumber" in query and found.part_bytes is not None
            size = min(found.part_bytes or 0, len(found.content)) if is_part else len(found.content)
            self._answer(206 if is_part else 200, found.headers(), size)

    def do_GET(self) -> None:
        """A listing, or an object or a part of it, perhaps cut."""
        if urlsplit(self.path).path.strip("/") == self.store.bucket:
            query = parse_qs(urlsplit(self.path).query)
            if not self._fails():
                page = self.store.listing(query["prefix"][0], query.get("continuation-token", [""])[0])
                self._answer(200, {"Content-Type": "application/xml"}, len(page))
                self.wfile.write(page)
            return
        found, _ = self._found()
        if found is not None:
            self._send(found)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _send(self, found: StoredObject) -> None:
        wanted, key = self.headers.get("Range", ""), self._key()
        self.store.downloads.append((key, wanted))
        if self.headers.get("If-Match", found.headers()["ETag"]) != found.headers()["ETag"]:
            self._answer(412, {}, 0)
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted) if self.store.has_ranges else None
        start, size = int(match[1]) if match else 0, len(found.content)
        span = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if match else {}
        self._answer(206 if match else 200, found.headers() | span, size - start)
        body = found.content[start:]
        self.wfile.write(body[: self.store.cuts[0]] if self.store.cuts else body)
        if self.store.cuts:
            self.store.cuts.pop(0)
            self.close_connection = True
        if self.store.replacements:
            self.store.objects[key] = self.store.replacements.pop(0)

    def _found(self) -> tuple[StoredObject | None, dict[str, list[str]]]:
        """The object that is asked for; if there is none, the answer is given."""
        if self._fails():
            return None, {}
        found = self.store.objects.get(self._key())
        if found is None:
            self._answer(404, {}, 0)
        return found, parse_qs(urlsplit(self.path).query)

    def _fails(self) -> bool:
        if self.store.failures:
            self._answer(self.store.failures.pop(0), {}, 0)
            return True
        return False

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{self.store.bucket}/")

    def _answer(self, status: int, headers: dict[str, str], size: int) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(size)}).items():
            self.send_header(name, value)
        self.end_headers()
