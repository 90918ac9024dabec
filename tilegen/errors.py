"""What can go wrong, in one short tree. A message says what is wrong and what to do about it."""


class TilegenError(Exception):
    """Anything tilegen refuses to do; the command line prints its message and exits with 1."""


class InputError(TilegenError, ValueError):
    """A value that the user gave cannot be used: a size, a CRS, a window, an option."""


class BudgetError(TilegenError, ValueError):
    """The job cannot fit: memory of a worker, or space on the disk."""


class CheckpointError(TilegenError, ValueError):
    """A checkpoint is missing, truncated, foreign, hostile, or does not match its card."""


class DataError(TilegenError, ValueError):
    """A chip or a packed dataset cannot be used for training."""


class OutputError(TilegenError, OSError):
    """A product exists already, belongs to another run, or cannot be written."""


class StoreError(OutputError):
    """A store refused for a reason that may pass, and did not in several attempts; elsewhere or later it may."""


class ScheduleError(TilegenError, RuntimeError):
    """The Dask cluster cannot be reached, has no workers, or lost a task for good."""


class TrainingError(TilegenError, RuntimeError):
    """Training cannot go on: a loss that is not finite, a run folder of another run."""


class MetricError(TilegenError, ValueError):
    """Images cannot be judged: weights of another network, too few images, images of another shape."""
