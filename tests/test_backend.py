"""Which array library computes: devices by name, with a stand-in for CuPy where a GPU would be needed."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import hypercon as hc
from hypercon import backend
from hypercon.errors import DeviceError


class FakeArray:
    """What backend.py asks of a CuPy array: where it lies, and its values."""

    def __init__(self, values, index=0):
        self.values, self.device = np.asarray(values), SimpleNamespace(id=index)
        self.shape, self.dtype = self.values.shape, self.values.dtype

    def get(self):
        return self.values


def fake_cupy(count):
    """A CuPy whose runtime counts ``count`` devices, or raises it."""
    current = []

    def device(index):
        current.append(index)
        return nullcontext()

    def get_device_count():
        if isinstance(count, Exception):
            raise count
        return count

    cuda = SimpleNamespace(Device=device, runtime=SimpleNamespace(getDeviceCount=get_device_count))
    return SimpleNamespace(ndarray=FakeArray, cuda=cuda, asarray=lambda array: FakeArray(array, current[-1]))


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(2))
    return sys.modules["cupy"]


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_NoCupy, *sys.meta_path])


class _NoCupy:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "cupy":
            raise ModuleNotFoundError(name)


# --- names


def test_the_cpu_is_always_there():
    assert backend.resolve_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("name", "device"), [("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1"), ("auto", "cuda:0")]
)
def test_gpus_are_counted_from_0(two_gpus, name, device):
    assert backend.resolve_device(name) == device


def test_auto_is_the_cpu_where_no_gpu_answers(no_cupy):
    assert backend.resolve_device("auto") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "", None, 0])
def test_another_name_is_refused_with_the_names_there_are(name):
    with pytest.raises(DeviceError, match=r'device got .*expected "cpu", "cuda", "cuda:1" or "auto"'):
        backend.resolve_device(name)


def test_a_missing_library_is_named_with_how_to_install_it(no_cupy):
    said = r'"cuda".*CuPy is not installed \(pip install "hypercon\[cuda12\]".*: use "cpu", or "auto" for a GPU'
    with pytest.raises(DeviceError, match=said):
        backend.resolve_device("cuda")


def test_a_gpu_beyond_the_last_is_refused_with_the_count(two_gpus):
    with pytest.raises(DeviceError, match=r'"cuda:2", but this machine has 2 CUDA device\(s\)'):
        backend.resolve_device("cuda:2")


def test_a_driver_that_fails_is_quoted(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(RuntimeError("no driver")))
    with pytest.raises(DeviceError, match=r"CUDA does not answer \(no driver\)"):
        backend.resolve_device("cuda")
    assert backend.resolve_device("auto") == "cpu"


# --- arrays


def test_arrays_of_numpy_are_computed_by_numpy():
    assert backend.xp(np.ones(2)) is np
    assert backend.xp(2.0, "no array") is np
    assert backend.is_array(np.ones(2))
    assert not backend.is_array(np.float64(2))
    assert not backend.is_array([1.0])
    assert backend.device_of(np.ones(2)) == "cpu"


def test_arrays_of_cupy_are_computed_by_cupy(two_gpus):
    array = FakeArray([1.0], index=1)
    assert backend.xp(2.0, array) is two_gpus
    assert backend.is_array(array)
    assert backend.device_of(array) == "cuda:1"


def test_moving_there_and_back_keeps_the_values(two_gpus):
    there = backend.to_device(np.array([1.0, 2.0]), "cuda:1")
    assert backend.device_of(there) == "cuda:1"
    assert backend.to_device(there, "cpu").tolist() == [1, 2]
    assert backend.to_host(there).tolist() == [1, 2]


def test_an_array_that_is_there_already_is_not_copied():
    x = np.ones(2)
    assert backend.to_device(x, "cpu") is x
    assert backend.to_host(x) is x
    assert hc.tensor(x, device="cpu").data is x


def test_a_list_becomes_an_array_of_the_host():
    assert backend.to_host([1, 2]).tolist() == [1, 2]


# --- two devices in one operation


@pytest.mark.parametrize("call", [hc.add, hc.matmul, hc.maximum], ids=["add", "matmul", "maximum"])
def test_an_operation_on_two_devices_is_refused_by_name_before_it_starts(two_gpus, call):
    with pytest.raises(
        DeviceError, match=r'(add|matmul|maximum) got arrays on cpu and cuda:1.*tensor\.to\("(cpu|cuda:1)"\)'
    ):
        call(hc.tensor(np.ones((2, 2))), FakeArray(np.ones((2, 2)), index=1))


def test_one_device_is_no_fault(two_gpus):
    backend.check_one_device("add", [np.ones(1), np.ones(2)])
    backend.check_one_device("add", [FakeArray([1.0]), FakeArray([2.0])])
    with pytest.raises(DeviceError, match="cuda:0 and cuda:1"):
        backend.check_one_device("add", [FakeArray([1.0], 0), FakeArray([2.0], 1)])


def test_a_tensor_moves_with_its_gradient():
    x = hc.tensor([1.0, 2.0], requires_grad=True)
    (x.to("cpu") * 3).sum().backward()
    assert x.device == "cpu"
    assert x.grad.data.tolist() == [3, 3]
    with pytest.raises(DeviceError, match="expected"):
        x.to("tpu")
