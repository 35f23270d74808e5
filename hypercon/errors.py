"""The errors that hypercon raises on purpose.

Each says what was got, what was expected and what to do. They live at the bottom of the house, so that every
room may raise them, and the command line turns exactly these into one line without a traceback: any other exception
is a fault of the library and shows itself as one.
"""


class HyperconError(Exception):
    """Base class of every error that is raised on purpose."""


class InputError(HyperconError, ValueError):
    """A value, shape or setting that cannot be used."""


class DtypeError(HyperconError, TypeError):
    """An array or argument of a kind that the operation has no meaning for."""


class DeviceError(HyperconError, ValueError):
    """A device that is not there, or that the data is not on."""


class DeviceMixError(DeviceError):
    """Arrays of two devices in one operation: nothing is moved unasked."""


class GraphError(HyperconError, RuntimeError):
    """A derivative was asked of a graph that does not hold it."""


class DataError(InputError):
    """A data set that cannot be found, read or used."""


class CheckpointError(InputError):
    """A checkpoint that this training cannot go on from."""


class RunError(InputError):
    """The folder of a run that holds none, or one that cannot be read."""


class StorageError(HyperconError, OSError):
    """A file that cannot be written, such as on a full disk. What stood under its name is unharmed."""


class TrainingError(HyperconError, ArithmeticError):
    """Training that cannot go on, such as a loss that is no longer finite."""


class ConvergenceWarning(UserWarning):
    """A fit stopped before its result was as near the best as it should be."""


class UnfinishedError(HyperconError, NotImplementedError):
    """An exercise that is not written yet. A notebook shows its message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class RankError(HyperconError, RuntimeError):
    """Work over several processes that cannot go on, such as one of which a process has ended."""
