"""How strongly images are augmented: as much as keeps the discriminator from knowing the training set by heart."""

from __future__ import annotations


def next_probability(p: float, mean_sign: float, *, target: float, num_images: int, ada_kimg: float) -> float:
    """The probability of each augmentation from here on.

    Karras et al. 2020, "Training GANs with limited data", section 3: one step of constant size up while D recognises
    real images more surely than `target`, one down while it is less sure.

    Args:
        p: the probability so far, 0 to 1.
        mean_sign: r_t of their Eq. 1, the mean of sign(D(real)) over all processes since the last call; -1 to 1.
        target: the value of `mean_sign` to hold; 0.6 in the paper.
        num_images: real images shown since the last call; the paper calls every 4 steps.
        ada_kimg: thousand images in which p can rise from 0 to 1; 500 in the paper.
    """
    direction = (mean_sign > target) - (mean_sign < target)
    return min(max(p + direction * num_images / (1000 * ada_kimg), 0.0), 1.0)
