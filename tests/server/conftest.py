"""A small world, and ways to ask a server about it: in this process, or in one of its own."""

import asyncio
import io
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from PIL import Image

from tilegen.server.app import create_app
from tilegen.server.settings import Settings
from tilegen.server.worlds import WorldImagery
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.world import open_world

HALF = 1 << 31
"""Row and column of the tile below and right of pixel (0, 0) at full resolution."""


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "nano.safetensors"
    save_random_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def world(model):
    return open_world(str(model), seed=7, res=0.76, device="cpu")


class Site:
    """A server in this process, asked through ASGI."""

    def __init__(self, imagery, settings, runner):
        self._runner = runner
        self._app = create_app(imagery, settings)

    def ask(self, path, **options):
        return self.ask_all([path], **options)[0]

    def ask_all(self, paths, *, method="GET", client="10.0.0.1", gate=None, raises=True, **options):
        """The answers to requests that are sent at once.

        Args:
            gate: what painters wait for; opened when all requests have arrived.
            raises: whether a failure of the server is one of the test.
        """

        async def answers():
            transport = httpx.ASGITransport(self._app, client=(client, 1), raise_app_exceptions=raises)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                asked = [asyncio.create_task(http.request(method, path, **options)) for path in paths]
                for _ in range(50):  # each request takes a few turns of the loop to arrive where it waits
                    await asyncio.sleep(0)
                if gate is not None:
                    gate.set()
                return await asyncio.gather(*asked)

        return self._runner.run(answers())

    def pixels(self, path):
        answer = self.ask(path)
        assert answer.status_code == 200, answer.text
        return picture(answer.content)


def picture(content):
    """[bands, rows, cols] of a picture."""
    return np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def site():
    """Makes a site of some imagery; they share an event loop."""
    with asyncio.Runner() as runner:
        yield lambda imagery, **limits: Site(imagery, Settings(**limits), runner)


@pytest.fixture(scope="module")
def shown(site, world):
    """A site of the small world."""
    return site(WorldImagery(world, max_zoom_out=3, model="nano.safetensors"), seed=7)


@contextmanager
def served(*words: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`tilegen serve` with these words in a process of its own: its address, and the process."""
    command = [sys.executable, "-m", "tilegen", "serve", "--port", "0", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.match(r"(http://\S+)/", line)
            assert found, line + process.stdout.read()
            yield found[1], process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(name="served", scope="session")
def served_fixture():
    return served
