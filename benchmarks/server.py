"""The map's server: how long a tile takes, and what memory two hundred clients cost.

    python benchmarks/server.py --workers 2 --minutes 1

Starts `tilegen serve` with the default model. Latency is that of one client, one tile at a time; every cold tile needs
blocks that nobody has asked for. Then 200 clients ask for tiles anywhere, one after the other, and wait as long as the
server says when it refuses. Clients and server share the machine's cores. Results: docs/serve.md.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter

import click
import httpx
import numpy as np
import psutil

HALF = 1 << 31
NUM_CLIENTS = 200
_ADDRESSES = [f"127.0.0.{number}" for number in range(2, 10)]
"""A server counts what is under way per address; on Linux this machine has more than one."""


@click.command()
@click.option("--workers", type=int, default=2, show_default=True)
@click.option("--minutes", type=float, default=1.0, show_default=True)
@click.option("--tiles", type=int, default=40, show_default=True, help="Cold tiles at full resolution.")
def main(workers, minutes, tiles):
    command = [sys.executable, "-m", "tilegen", "serve", "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = re.match(r"(http://\S+)/", server.stdout.readline())[1]
            process = psutil.Process(server.pid)
            latencies(url, tiles)
            print(f"memory of the server: {process.memory_info().rss >> 20} MiB")
            asyncio.run(flood(url, process, 60 * minutes))
        finally:
            server.terminate()


def latencies(url, num_tiles):
    print(f"load of the machine: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    print(f"{'tiles':<30} {'p50 ms':>8} {'p95 ms':>8} {'number':>7}")
    with httpx.Client(base_url=url, timeout=300) as client:
        get(client, 32, -1000, 0)  # the first one loads what is loaded late
        for name, zoom, number in (
            ("full resolution", 32, num_tiles),
            ("three levels out", 29, max(4, num_tiles // 4)),
        ):
            for state in ("cold", "warm"):
                report(f"{name}, {state}", [get(client, zoom, 100, 2 * index) for index in range(number)])
        beside = [get(client, 32, 101, 2 * index) for index in range(num_tiles)]
        report("full resolution, beside another", beside)


def get(client, zoom, row, col):
    shift = 1 << (zoom - 1)
    begun = time.perf_counter()
    client.get(f"/map/tiles/native/{zoom}/{shift + row}/{shift + col}?f=png").raise_for_status()
    return time.perf_counter() - begun


def report(name, seconds):
    p50, p95 = np.percentile(1e3 * np.array(seconds), (50, 95))
    print(f"{name:<30} {p50:8.0f} {p95:8.0f} {len(seconds):7}")


async def flood(url, process, seconds):
    codes, waits, until, peak = Counter(), [], time.monotonic() + seconds, process.memory_info().rss

    async def one(http, number):
        turn = 0
        while time.monotonic() < until:
            zoom = (32, 32, 32, 31)[(number + turn) % 4]
            shift = 1 << (zoom - 1)
            begun = time.monotonic()
            answer = await http.get(f"/map/tiles/native/{zoom}/{shift + 4 * number}/{shift + 1000 + turn}?f=webp")
            codes[answer.status_code] += 1
            if answer.status_code == 200:
                waits.append(time.monotonic() - begun)
                turn += 1
            else:
                await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))

    async def watch():
        nonlocal peak
        while time.monotonic() < until:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.2)

    transports = [httpx.AsyncHTTPTransport(local_address=address) for address in _ADDRESSES]
    clients = [httpx.AsyncClient(base_url=url, timeout=300, transport=transport) for transport in transports]
    await asyncio.gather(watch(), *(one(clients[number % len(clients)], number) for number in range(NUM_CLIENTS)))
    for client in clients:
        await client.aclose()
    print(f"{NUM_CLIENTS} clients for {seconds:.0f} s: {dict(codes)}")
    report("tiles under flood", waits)
    print(f"peak memory of the server: {peak >> 20} MiB")


if __name__ == "__main__":
    main()
