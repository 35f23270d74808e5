"""A peer in plain NumPy, for the tests of the suite: right, or wrong in the way that it is told to be."""

import sys
import time

import numpy as np

from benchmarks import work


class Peer:
    """InfoNCE by its answer in float64, rounded; ``fault`` is what goes wrong."""

    def __init__(self, fault=None):
        self.fault = fault
        if fault == "not installed":
            raise ModuleNotFoundError("No module named 'plain'", name="plain")
        if fault == "does not start":
            raise RuntimeError("no usable devices\nand more that nobody reads")

    def info_nce(self, inputs, **settings):
        calls = []

        def run():
            calls.append(None)
            if self.fault == "dies later" and len(calls) > 1:
                sys.exit(3)
            if self.fault == "hangs":
                time.sleep(60)
            if self.fault == "dies":
                print("out of luck", file=sys.stderr)
                sys.exit(3)
            if self.fault == "raises":
                raise ValueError("cannot do that\nsecond line")
            return work.answer("info_nce", inputs, settings)

        def results():
            found = {name: np.asarray(value, np.float32) for name, value in run().items()}
            if self.fault in found:  # a planted error of one in a thousand
                found[self.fault] = found[self.fault] * np.float32(1.001)
            if self.fault == "nan":
                found["z1"][0, 0] = np.nan
            if self.fault == "shape":
                found["z1"] = found["z1"][:-1]
            if self.fault == "forgets":
                del found["z2"]
            if self.fault == "float64":
                found = {name: value.astype(np.float64) for name, value in found.items()}
            return found

        return work.Work(run, results)
