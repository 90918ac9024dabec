"""What a network is, in plain data: stored in its checkpoint, rebuilt from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tilegen.bands import RGB
from tilegen.errors import InputError
from tilegen.fields.prior import Prior, default_prior


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Architecture of a generator.

    Args:
        channels: features of each level, level 0 (one pixel per cell) first; a cell is 2**(levels - 1) pixels wide.
        w_dim: channels of the intermediate latent w.
        mapping_layers: layers of the mapping network.
        band_names: output bands in order.
        prior: distribution of the latent field; its channels are the z of the mapping network.

    Raises:
        InputError: a number is out of range.
    """

    channels: tuple[int, ...]
    w_dim: int
    mapping_layers: int
    prior: Prior
    band_names: tuple[str, ...] = RGB

    def __post_init__(self) -> None:
        prior = (self.prior.channels, self.prior.content_channels)
        counts = (*self.channels, self.w_dim, self.mapping_layers, len(self.band_names), *prior)
        are_whole = all(type(count) is int for count in counts)  # True is an int to Python, not to torch
        if not are_whole or not 2 <= len(self.channels) <= 9 or min(counts) < 1 or max(counts) > 4096:
            raise InputError(f"Not a usable architecture: {self}. Give 2 to 9 levels and counts from 1 to 4096.")

    @property
    def top_level(self) -> int:
        """The level of the image."""
        return len(self.channels) - 1

    @property
    def num_ws(self) -> int:
        """How many w the synthesis network reads: one per 3x3 layer, and one for the last layer to the image."""
        return 2 * self.top_level + 2

    @property
    def cell_px(self) -> int:
        """Image pixels along one cell."""
        return 1 << self.top_level


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Architecture of a discriminator for square crops.

    Args:
        crop_px: edge of a crop; 4 times a power of two.
        channels: features at each resolution from `crop_px` down to 4 pixels.
        num_bands: bands of a crop.
        group_size: consecutive crops that share one minibatch statistic; of one chip, or of one world.
    """

    crop_px: int
    channels: tuple[int, ...]
    num_bands: int = 3
    group_size: int = 4

    def __post_init__(self) -> None:
        counts = (*self.channels, self.num_bands, self.group_size)
        if not self.channels or min(counts) < 1 or max(counts) > 4096:
            raise InputError(f"Not a usable discriminator: {self}. Give counts from 1 to 4096.")
        if self.crop_px != 4 << (len(self.channels) - 1):
            raise InputError(
                f"A discriminator of {len(self.channels)} resolutions judges crops of "
                f"{4 << (len(self.channels) - 1)} px, not {self.crop_px} px."
            )

    def grown(self, crop_px: int) -> DiscriminatorConfig:
        """The same discriminator for crops of the same size or larger ones, with more blocks before its head.

        Raises:
            InputError: `crop_px` is not the size of this one's crops times a power of two.
        """
        added = (crop_px // self.crop_px).bit_length() - 1
        if added < 0 or crop_px != self.crop_px << added:
            raise InputError(
                f"The run saw crops of {self.crop_px} px and goes on with those or with larger ones: "
                f"--crop-px {self.crop_px}, {2 * self.crop_px}, {4 * self.crop_px} ..., not {crop_px}."
            )
        return replace(self, crop_px=crop_px, channels=self.channels + self.channels[-1:] * added)


def _generator(channels: tuple[int, ...], w_dim: int, mapping_layers: int) -> GeneratorConfig:
    prior = default_prior(z_dim=w_dim, content_channels=32)
    return GeneratorConfig(channels=channels, w_dim=w_dim, mapping_layers=mapping_layers, prior=prior)


GENERATOR_PRESETS: dict[str, GeneratorConfig] = {
    "nano": _generator((32, 32, 16, 16), 64, 2),  # tests: seconds on a CPU
    "mini": _generator((128, 128, 64, 32, 16), 64, 2),  # trains in an hour on two CPU cores: the bundled weights
    "tiny": _generator((128, 128, 128, 64, 32, 16), 128, 3),  # CPU
    "S": _generator((256, 256, 256, 128, 64, 32), 256, 4),  # one GPU
    "paper": _generator((512, 512, 512, 512, 256, 128, 64), 512, 8),  # reproduction at 256 px
}
"""Named architectures: channels from level 0 up, w_dim, mapping layers."""


def preset_discriminator(generator: GeneratorConfig, crop_px: int, group_size: int = 4) -> DiscriminatorConfig:
    """A discriminator as wide as the generator at the same resolution, doubling towards 4 px up to its widest level.

    Raises:
        InputError: `crop_px` is not 4 times a power of two of at least 8.
    """
    if crop_px < 8 or crop_px & (crop_px - 1):
        raise InputError(f"--crop-px must be a power of two of at least 8, got {crop_px}.")
    widest, top = max(generator.channels), generator.channels[-1]
    num_resolutions = crop_px.bit_length() - 2
    channels = tuple(min(top << i, widest) for i in range(num_resolutions))
    return DiscriminatorConfig(
        crop_px=crop_px, channels=channels, num_bands=len(generator.band_names), group_size=group_size
    )
