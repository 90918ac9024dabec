"""What a server may be asked for, and by whom."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names by which a browser may ask a server that is bound to this machine alone."""

MAX_DOWNLOAD_PX = 2048
"""Longest side of an area that is downloaded."""

MAX_URL_CHARACTERS = 2048


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits of one server.

    Args:
        seed: the world that is shown unless another is asked for.
        is_seed_fixed: whether another may not be asked for.
        cache_bytes: of pixels that are kept; pictures take a quarter as much beside them.
        num_threads: how many blocks are painted at a time.
        most_waiting: how many blocks may wait for that; beyond it the answer is 503.
        most_requests: how many requests may be under way; beyond it the answer is 503.
        most_per_client: how many of them from one address; beyond it the answer is 429.
        hosts: names in the Host header that are answered; None for all.
        origins: other sites whose pages may read what is served.
    """

    seed: int = 0
    is_seed_fixed: bool = False
    cache_bytes: int = 256 << 20
    num_threads: int = 2
    most_waiting: int = 256
    most_requests: int = 256
    most_per_client: int = 64
    hosts: tuple[str, ...] | None = LOOPBACK
    origins: tuple[str, ...] = ()
