"""What the discriminator sees: which transforms are drawn, and what they do to images."""

from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from tilegen.data.dataset import transformed
from tilegen.errors import InputError
from tilegen.training.augment import Augmentations, augmented, sample_augmentations


def drawn(count: int, p: float, *, seed: int = 0, crop_px: int = 16, **options: bool) -> Augmentations:
    options = {"num_bands": 3} | options
    return sample_augmentations(np.random.default_rng(seed), count, p, crop_px=crop_px, **options)


def noise(count: int, px: int, *, bands: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    values = np.random.default_rng(seed).uniform(-1, 1, (count, bands, px, px))
    return torch.from_numpy(values).to(dtype)


def uncoloured(some: Augmentations) -> Augmentations:
    """The geometry alone."""
    ones = torch.ones_like(some.gain)
    return replace(some, gain=ones, grey=ones - 1, brightness=ones - 1)


def untouched(some: Augmentations) -> Tensor:
    """Rows to which nothing is done."""
    still = ~some.transposed & (some.slope == 1).all(1) & (some.offset_px == 0).all(1)
    return still & (some.gain == 1) & (some.grey == 0) & (some.brightness == 0)


# What is drawn


def test_without_probability_nothing_is_done() -> None:
    images = noise(16, 16)
    result = augmented(images, drawn(16, 0.0, cutout=True))
    assert result.numpy().tobytes() == images.numpy().tobytes()


@pytest.mark.parametrize("p", [0.05, 0.3, 0.8])
def test_images_stay_untouched_as_often_as_every_transform_spares_them(p: float) -> None:
    """What keeps the augmentations from leaking: six strengths that spare 1 - p, a group that spares 1 - p + p / 8."""
    count, expected = 40_000, (1 - p) ** 6 * (1 - p + p / 8)
    found = int(untouched(drawn(count, p)).sum())
    assert scipy.stats.binomtest(found, count, expected).pvalue > 1e-4


@pytest.mark.parametrize("p", [0.4, 1.0])
def test_turns_and_mirrorings_are_uniform_over_the_group(p: float) -> None:
    some = drawn(16_000, p)
    element = some.transposed.long() + 2 * (some.slope[:, 0] < 0).long() + 4 * (some.slope[:, 1] < 0).long()
    expected = 16_000 * (np.full(8, p / 8) + np.eye(8)[0] * (1 - p))
    assert scipy.stats.chisquare(np.bincount(element, minlength=8), expected).pvalue > 1e-4


def test_strengths_are_those_of_the_paper_or_half_of_them() -> None:
    """Appendix B of Karras et al. 2020: 0.125 for shifts; 0.2, 0.2, 0.5 and 1 for the rest, here halved."""
    some = drawn(4000, 1.0, crop_px=64, dihedral=False)
    contrast = some.gain + some.grey
    for values, std in (
        (-some.slope[:, 0].log2(), 0.1),
        (some.brightness / contrast, 0.1),
        (contrast.log2(), 0.25),
        ((some.gain / contrast).log2(), 0.5),
    ):
        assert scipy.stats.kstest(values.numpy(), scipy.stats.norm(0, std).cdf).pvalue > 1e-4
    # Brightness comes first, so contrast scales it; unscaled, they know nothing of each other.
    assert scipy.stats.spearmanr(contrast, (some.brightness / contrast).abs()).pvalue > 1e-4
    # Both shifts at once: N(0, 8 px) and whole pixels from -8 to 8, the outermost half as likely.
    shift = some.offset_px[:, 1]
    assert shift.std() == pytest.approx(np.hypot(8, np.sqrt(64 / 3)), rel=0.05)
    assert shift.mean() == pytest.approx(0, abs=0.6)
    torch.testing.assert_close(some.slope[:, 0], some.slope[:, 1], rtol=0, atol=0)


@given(seed=st.integers(0, 2**32), low=st.floats(0, 1), high=st.floats(0, 1))
def test_more_probability_adds_transforms_and_changes_none(seed: int, low: float, high: float) -> None:
    few, many = (drawn(6, p, seed=seed) for p in sorted((low, high)))
    assert bool((untouched(few) | ~untouched(many)).all())
    assert bool((many.transposed | ~few.transposed).all())
    zoomed = few.slope.abs() != 1
    assert torch.equal(few.slope.abs()[zoomed], many.slope.abs()[zoomed])


def test_a_larger_batch_adds_rows_and_shares_make_up_the_whole() -> None:
    whole, fewer = drawn(12, 0.5), drawn(9, 0.5)
    shares = [whole.share(rank, 3) for rank in range(3)]
    for field in fields(Augmentations):
        values = getattr(whole, field.name)
        assert torch.equal(values[:9], getattr(fewer, field.name))
        assert torch.equal(values, torch.cat([getattr(share, field.name) for share in shares]))


def test_one_band_has_no_saturation_and_saturation_leaves_grey_images_alone() -> None:
    """Where all bands are equal, only brightness and contrast are left: those that a single band gets."""
    one, three = drawn(100, 1.0, num_bands=1), drawn(100, 1.0, num_bands=3)
    assert bool((one.grey == 0).all())
    assert bool((three.grey != 0).all())
    torch.testing.assert_close(three.gain + three.grey, one.gain)
    assert torch.equal(three.brightness, one.brightness)


# What is done


def test_the_symmetries_are_the_eight_of_the_dataset() -> None:
    """Bit for bit, on crops of even and of odd size."""
    turned = drawn(200, 1.0)
    turned = replace(uncoloured(turned), slope=turned.slope.sign(), offset_px=torch.zeros(200, 2).double())
    for px in (8, 9):
        pixels = ((noise(1, px)[0] + 1) * 127).to(torch.uint8)
        known = {transformed(pixels, symmetry).numpy().tobytes() for symmetry in range(8)}
        result = augmented(pixels.float().expand(200, -1, -1, -1), turned).to(torch.uint8)
        assert {one.numpy().tobytes() for one in result} == known


@pytest.mark.parametrize("shift", [(0, 3), (-2, 0), (5, -7), (-40, 33)])
def test_whole_shifts_copy_and_reflect(shift: tuple[int, int]) -> None:
    image = noise(1, 12)
    moved = replace(drawn(1, 0.0), offset_px=-torch.tensor([shift], dtype=torch.float64))
    padded = np.pad(image[0].numpy(), ((0, 0), (50, 50), (50, 50)), mode="reflect")
    rows, cols = (slice(50 - by, 62 - by) for by in shift)
    assert np.array_equal(augmented(image, moved)[0].numpy(), padded[:, rows, cols])


def test_a_batch_copies_every_image_that_is_not_resampled() -> None:
    """Whatever happens to its neighbours."""
    some = uncoloured(drawn(300, 0.4))
    copied = (some.slope.abs() == 1).all(1) & (some.offset_px == some.offset_px.round()).all(1)
    assert 30 < copied.sum() < 270
    images = noise(300, 16)
    for image, result in zip(images[copied], augmented(images, some)[copied], strict=True):
        assert np.isin(result.numpy(), image.numpy()).all()


@pytest.mark.parametrize("zoom", [0.6, 0.93, 1.0, 1.3])
@pytest.mark.parametrize("fraction", [(0.0, 0.5), (-3.3, 2.21)])
def test_resampling_is_the_lanczos_filter_of_pillow(zoom: float, fraction: tuple[float, float]) -> None:
    """Which widens its kernel where an image shrinks."""
    px, pad = 16, 40
    image = noise(1, px, bands=1, dtype=torch.float64)
    slope = torch.full((1, 2), 1 / zoom, dtype=torch.float64)
    offset_px = -torch.tensor([fraction], dtype=torch.float64) / zoom
    result = augmented(image, replace(drawn(1, 0.0), slope=slope, offset_px=offset_px))

    padded = Image.fromarray(np.pad(image[0, 0].numpy(), pad, mode="reflect").astype(np.float32))
    top, left = (pad + px / 2 - (px / 2 + by) / zoom for by in fraction)
    box = (left, top, left + px / zoom, top + px / zoom)
    expected = np.asarray(padded.resize((px, px), Image.Resampling.LANCZOS, box=box))
    np.testing.assert_allclose(result[0, 0].numpy(), expected, atol=1e-5)


def test_transforms_compose_to_one_map() -> None:
    """A blob goes where its centre is sent by transposition, mirroring, shift and zoom, one after another."""
    grid = torch.arange(64, dtype=torch.float64) - 63 / 2
    blob = (-((grid[:, None] - 6) ** 2 + (grid - 9) ** 2) / 18).exp()[None, None]
    mirror, shift, zoom = torch.tensor([[-1.0, 1.0], [5.3, -3.4], [1.2, 1.2]], dtype=torch.float64)
    where = (mirror * torch.tensor([9.0, 6.0]) + shift) * zoom
    maps = {"slope": (mirror / zoom)[None], "offset_px": (-mirror * shift)[None]}
    result = augmented(blob, replace(drawn(1, 0.0), transposed=torch.tensor([True]), **maps))[0, 0]
    centre = torch.stack([(result.sum(1) * grid).sum(), (result.sum(0) * grid).sum()]) / result.sum()
    torch.testing.assert_close(centre, where, atol=1e-2, rtol=0)


def test_colours_are_brightness_then_contrast_then_saturation() -> None:
    """As products of homogeneous matrices, the way the paper has it, for any number of bands."""
    for bands in (1, 3, 5):
        some = drawn(20, 1.0, num_bands=bands)
        still = drawn(20, 0.0)
        some = replace(still, gain=some.gain, grey=some.grey, brightness=some.brightness)
        images = noise(20, 8, bands=bands, dtype=torch.float64)
        contrast = some.gain + some.grey
        for row in range(20):
            brighter, stronger, purer = (np.eye(bands + 1) for _ in range(3))
            brighter[:-1, -1] = some.brightness[row] / contrast[row]
            stronger[:-1, :-1] *= contrast[row].item()
            axis = np.full((bands, bands), 1 / bands)
            purer[:-1, :-1] = axis + (np.eye(bands) - axis) * (some.gain[row] / contrast[row]).item()
            pixels = np.concatenate([images[row].reshape(bands, -1), np.ones((1, 64))])
            expected = (purer @ stronger @ brighter @ pixels)[:-1].reshape(bands, 8, 8)
            np.testing.assert_allclose(augmented(images, some)[row], expected, atol=1e-12)


def test_a_hole_is_square_and_the_rest_stays() -> None:
    images = noise(400, 16)
    some = drawn(400, 1.0, cutout=True)
    result = augmented(images, replace(drawn(400, 0.0), hole_px=some.hole_px))
    hole = (result == 0).all(dim=1)
    assert torch.equal(result, images * ~hole[:, None])
    rows, cols = hole.any(dim=2).sum(1), hole.any(dim=1).sum(1)
    assert torch.equal(rows * cols, hole.sum(dim=(1, 2)))
    assert (int(rows.max()), int(cols.max()), int(rows.min()) >= 4) == (8, 8, True)


def test_an_even_image_stays_even() -> None:
    """Weights add up to one, wherever the taps are reflected to, and there are no holes unless asked for."""
    images = torch.full((64, 2, 16, 16), 0.25)
    torch.testing.assert_close(augmented(images, uncoloured(drawn(64, 1.0))), images)


def test_gradients_of_gradients_are_right() -> None:
    """R1 of real images goes through the augmentations."""
    some = drawn(2, 1.0, crop_px=5, num_bands=2, cutout=True)
    images = noise(2, 5, bands=2, dtype=torch.float64).requires_grad_(True)

    def judged(x: Tensor) -> Tensor:
        return augmented(x, some).pow(3)

    assert torch.autograd.gradcheck(judged, images)
    assert torch.autograd.gradgradcheck(judged, images)


@pytest.mark.gpu
def test_a_gpu_augments_as_the_cpu_does() -> None:
    images, some = noise(64, 32), drawn(64, 0.7, crop_px=32, cutout=True)
    torch.testing.assert_close(augmented(images.cuda(), some).cpu(), augmented(images, some), atol=1e-4, rtol=0)
    still = drawn(64, 0.0)
    assert torch.equal(augmented(images.cuda(), still).cpu(), images)


# What is refused


@pytest.mark.parametrize("p", [-0.1, 1.01, float("nan")])
def test_a_probability_lies_between_0_and_1(p: float) -> None:
    with pytest.raises(InputError, match=r"between 0 and 1, not at"):
        drawn(2, p)


@pytest.mark.parametrize(("rank", "num_processes"), [(0, 3), (2, 2), (-1, 2)])
def test_shares_are_equal_or_refused(rank: int, num_processes: int) -> None:
    with pytest.raises(InputError, match="4 images cannot be shared out"):
        drawn(4, 0.5).share(rank, num_processes)


def test_every_image_needs_its_own_row() -> None:
    with pytest.raises(InputError, match="5 images need as many augmentations, not 4"):
        augmented(noise(5, 16), drawn(4, 0.5))
