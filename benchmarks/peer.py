"""Render rate of another public generator on the same core: the StyleGAN2 of labml-nn, as it is.

    pip install --target baseline --no-deps labml-nn==0.5.1 labml labml-helpers
    PYTHONPATH=baseline python benchmarks/peer.py

Same widths as the preset S (32 to 256 channels), one image of 512 px per call, float32, one thread. labml-nn paints one
style per image, with padding and without a halo: a smaller job. tilegen paints a tile of an endless image. In turns, in
the same run; medians. Results: docs/benchmarks.md.
"""

from __future__ import annotations

import click
import torch
from engine import medians

from tilegen.geometry.window import Window
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.model.engine import open_engine
from tilegen.model.generator import Generator

_LOG_PX = 9


@click.command()
@click.option("--preset", default="S", show_default=True)
@click.option("--repeats", default=5, show_default=True)
@torch.no_grad()
def main(preset: str, repeats: int) -> None:
    from labml_nn.gan.stylegan import Generator as Peer
    from labml_nn.gan.stylegan import MappingNetwork

    torch.set_num_threads(1)
    config = GENERATOR_PRESETS[preset]
    generator, window = Generator(config).eval(), Window.from_size(1 << _LOG_PX, 1 << _LOG_PX)
    peer = Peer(_LOG_PX, config.w_dim, n_features=config.channels[-1], max_features=max(config.channels)).eval()
    mapping = MappingNetwork(config.w_dim, config.mapping_layers).eval()

    def paint_peer() -> torch.Tensor:
        w = mapping(torch.randn(1, config.w_dim))[None].expand(peer.n_blocks, -1, -1)
        sizes = [(1, 1, 4 << block, 4 << block) for block in range(peer.n_blocks)]
        noise = [(None if block == 0 else torch.randn(size), torch.randn(size)) for block, size in enumerate(sizes)]
        return peer(w, noise)

    work = {"labml-nn": paint_peer}
    for dtype in (torch.float32, torch.bfloat16):
        engine = open_engine("compiled", generator, dtype)
        work[f"tilegen {str(dtype)[6:]}"] = lambda engine=engine: engine(generator.inputs((0,), window))
    took = medians(work, repeats)
    for name, seconds in took.items():
        ratio = took["labml-nn"] / seconds
        click.echo(f"{name:<18} {(1 << 2 * _LOG_PX) / seconds / 1e6:6.3f} Mpx/s {ratio:6.1f} x labml-nn")


if __name__ == "__main__":
    main()
