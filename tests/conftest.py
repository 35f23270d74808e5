"""How hypothesis draws: the same few examples in every run; ``--hypothesis-profile=thorough`` draws many, at random.
And the devices that a test runs on, for those that ask for ``device``."""

import signal
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import hypercon.testing.strict  # noqa: F401 - registers the device
from hypercon import backend

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for what a shell runs in the background; tests interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

BUSY = [HealthCheck.too_slow]  # a busy machine is no fault of a test
settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True, suppress_health_check=BUSY)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile("quick")


@dataclass(frozen=True)
class Device:
    """Where a test computes, held against NumPy on ordinary arrays."""

    name: str
    writeable: bool = True
    exact: bool = True

    def put(self, values):
        """A copy of ``values`` there."""
        array = np.array(values)
        array.flags.writeable = self.writeable
        return backend.to_device(array, self.name)

    def check(self, got, expected):
        """Is ``got`` there, and to the last bit what NumPy gives? A GPU adds in another order."""
        assert backend.device_of(got) == self.name
        self.check_values(backend.to_host(got), expected)

    def check_values(self, got, expected):
        if self.exact:
            np.testing.assert_array_equal(got, expected, strict=True)
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5, strict=True)


DEVICES = {
    "numpy": Device("cpu"),
    "read-only": Device("cpu", writeable=False),
    "strict": Device("strict"),
}
if backend.count_gpus()[0]:
    DEVICES["cupy"] = pytest.param(Device("cuda:0", exact=False), marks=pytest.mark.gpu)


@pytest.fixture(params=DEVICES.values(), ids=DEVICES)
def device(request):
    """NumPy, NumPy with inputs that refuse to be written to, the strict stand-in, and a GPU if one answers."""
    return request.param
