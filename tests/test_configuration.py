"""What an installation says of itself."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import hypercon as hc
from hypercon import cli, configuration
from hypercon.errors import InputError


def test_it_knows_versions_blas_cores_and_gpus():
    found = hc.show_config("dicts")
    assert found["versions"]["hypercon"] == hc.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["python"] == sys.version.split()[0]
    assert found["versions"]["hypothesis"]
    assert found["cores"] >= 1
    for library in found["blas"]:
        assert library["name"] in ("openblas", "mkl", "blis", "flexiblas")
        assert library["threads"] >= 1


def test_it_prints_a_line_for_each_and_returns_nothing(capsys):
    assert hc.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {"hypercon", "python", "numpy", "blas", "packages", "gpus"}
    assert max(map(len, lines)) < 200


def test_the_command_prints_the_same(capsys):
    hc.show_config()
    expected = capsys.readouterr().out
    assert cli.main(["config"]) == 0
    assert capsys.readouterr().out == expected


def test_why_there_is_no_gpu_is_said(monkeypatch, capsys):
    monkeypatch.setattr(configuration, "count_gpus", lambda: (0, "CUDA does not answer (no driver)"))
    hc.show_config()
    assert "gpus      none: CUDA does not answer (no driver)" in capsys.readouterr().out


def test_gpus_are_named(monkeypatch, capsys):
    runtime = SimpleNamespace(getDeviceProperties=lambda i: {"name": b"Card %d" % i})
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(ndarray=type(None), cuda=SimpleNamespace(runtime=runtime)))
    monkeypatch.setattr(configuration, "count_gpus", lambda: (2, "this machine has 2 CUDA device(s)"))
    hc.show_config()
    assert "gpus      cuda:0 Card 0, cuda:1 Card 1" in capsys.readouterr().out


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setattr(configuration, "OPTIONAL", ("hypothesis", "no-such-package"))
    hc.show_config()
    assert "missing   no-such-package" in capsys.readouterr().out


def test_another_mode_is_refused():
    with pytest.raises(InputError, match='mode got \'yaml\', expected "stdout" or "dicts"'):
        hc.show_config("yaml")
