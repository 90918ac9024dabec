"""The public bucket of SpaceNet over plain HTTP, without an account: what is in it, and the bytes of one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

import urllib3

from tilegen.data.sources import printable
from tilegen.errors import DataError, InputError

BUCKET = "spacenet-dataset"
"""Its name (registry.opendata.aws/spacenet); it lies in us-east-1, and anybody may read it."""

BUCKET_URL = f"https://{BUCKET}.s3.amazonaws.com"

_CHUNK_BYTES = 1 << 18
_MOST_LISTING_BYTES = 16 << 20
_MOST_PAGES = 1000
_NO_MATCH = 412
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
# A server decides neither how long we wait nor where we go: its Retry-After and its redirects are not followed.
_RETRIES = urllib3.Retry(
    total=3,
    connect=2,
    redirect=0,
    backoff_factor=0.25,
    backoff_jitter=0.1,
    status_forcelist={429, 500, 502, 503, 504},
    raise_on_status=False,
    respect_retry_after_header=False,
)


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One version of one object.

    Args:
        key: its name in the bucket, as the server spells it: not to be trusted.
        num_bytes: its size.
        etag: what the server calls this version, with its quotation marks.
    """

    key: str
    num_bytes: int
    etag: str


class Bucket:
    """Reads objects of the bucket. Every request is tried again when it fails for a reason that may pass."""

    def __init__(self, url: str, pool: urllib3.PoolManager) -> None:
        self._url, self._pool = url, pool

    def files(self, prefix: str) -> Iterator[RemoteFile]:
        """All objects whose key begins with `prefix` (Amazon S3 API Reference, ListObjectsV2).

        Raises:
            DataError: the server does not answer, refuses, or answers something else.
        """
        fields = {"list-type": "2", "prefix": prefix}
        for _ in range(_MOST_PAGES):
            with self._request("GET", "", fields=fields) as response:
                page = _listing(self._url, response.read(_MOST_LISTING_BYTES))
            for entry in page.iterfind("{*}Contents"):
                yield _listed(self._url, entry)
            fields["continuation-token"] = page.findtext("{*}NextContinuationToken") or ""
            if page.findtext("{*}IsTruncated") != "true":
                return
        raise DataError(f"{self._url} lists without end. Check --endpoint.")

    def file(self, key: str) -> RemoteFile:
        """The object of this key as it is now.

        Raises:
            DataError: as for `files`.
        """
        headers = self.headers(key)
        return RemoteFile(key=key, num_bytes=_size(self._url, headers.get("Content-Length")), etag=headers["ETag"])

    def headers(self, key: str, **fields: str) -> Mapping[str, str]:
        """What the server says of an object (HeadObject), its checksums included; `fields` goes into the query.

        Raises:
            DataError: as for `files`.
        """
        with self._request("HEAD", key, headers={"x-amz-checksum-mode": "ENABLED"}, fields=fields) as response:
            if "ETag" not in response.headers:
                raise DataError(f"{self._url} is no S3 server. Check --endpoint.")
            return dict(response.headers.items()) | {"ETag": response.headers["ETag"]}

    @contextmanager
    def opened(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]] | None]:
        """The bytes of this version of an object, from `start` on if the server can do that.

        Yields:
            Where the bytes begin, `start` or 0, and the bytes; they end early when the connection is lost. None if
            the server has another version by now.

        Raises:
            DataError: as for `files`.
        """
        headers = {"If-Match": file.etag, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with self._request("GET", file.key, headers=headers) as response:
            if response.status == _NO_MATCH:
                yield None
            else:
                began_at_start = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
                yield (start if began_at_start else 0, _chunks(response))

    @contextmanager
    def _request(
        self,
        method: str,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer, whose body is not read yet: a success, or that no version matches."""
        try:
            response = self._pool.request(
                method,
                f"{self._url}/{quote(key)}",
                headers=headers,
                fields=fields,
                preload_content=False,
                redirect=False,
                retries=_RETRIES,
                timeout=_TIMEOUT,
            )
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise DataError(
                f"{self._url} does not answer ({type(reason).__name__}). Check the network, or --endpoint."
            ) from None
        try:
            if response.status not in (200, 206, _NO_MATCH):
                what = f"{printable(key)} " if key else ""
                raise DataError(
                    f"{self._url} does not give {what or 'its listing '}(HTTP {response.status}). "
                    "Check --endpoint, or try again later."
                )
            yield response
        finally:
            response.close()


@contextmanager
def open_bucket(endpoint: str | None) -> Iterator[Bucket]:
    """The bucket at Amazon, or, with an endpoint such as "http://localhost:9000", the one of its name there.

    Proxies of the environment (HTTPS_PROXY, NO_PROXY) are used.

    Raises:
        InputError: `endpoint` is no URL of a server, or the proxy of the environment none of a proxy.
    """
    url = BUCKET_URL if endpoint is None else f"{endpoint.rstrip('/')}/{BUCKET}"
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parts = urllib3.util.Url()
    if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment or parts.auth:
        raise InputError(f"--endpoint {endpoint!r} is no server. Give a URL, such as http://localhost:9000.")
    proxy = None if proxy_bypass(parts.host) else getproxies().get(parts.scheme)
    try:
        pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
    except (urllib3.exceptions.HTTPError, ValueError):
        name = f"{parts.scheme}_proxy"
        raise InputError(f"{name} in the environment is no HTTP proxy. Give a URL, such as http://host:3128.") from None
    try:
        yield Bucket(url, pool)
    finally:
        pool.clear()


def _chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The body until its end, or until the connection is lost."""
    try:
        yield from response.stream(_CHUNK_BYTES, decode_content=False)
    except urllib3.exceptions.HTTPError:
        return


def _listing(url: str, body: bytes) -> ElementTree.Element:
    try:
        if b"<!DOCTYPE" in body:  # entities may grow beyond all bounds
            raise DataError(f"{url} is no S3 server. Check --endpoint.")
        page = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise DataError(f"{url} gives no listing that can be read. Check --endpoint.") from None
    if page.tag.rpartition("}")[2] != "ListBucketResult":
        raise DataError(f"{url} is no S3 server. Check --endpoint.")
    return page


def _listed(url: str, entry: ElementTree.Element) -> RemoteFile:
    key, etag = entry.findtext("{*}Key"), entry.findtext("{*}ETag")
    if not key or not etag:
        raise DataError(f"{url} lists a file without name or version. Check --endpoint.")
    return RemoteFile(key=key, num_bytes=_size(url, entry.findtext("{*}Size")), etag=etag)


def _size(url: str, text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise DataError(f"{url} lists a file of no size. Check --endpoint.")
    return int(text)
