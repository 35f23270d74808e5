"""What a training step costs with BLAS at one thread and at two, on a quiet machine and on a busy one.

    python tests/benchmarks/blas_threads.py           as the machine is
    python tests/benchmarks/blas_threads.py --busy    with an endless loop beside it on every core

Both are measured in turn, so that what else the machine does meets both. `fit` decides by the size of the largest
layer; here the step is called without it.
"""

import subprocess
import sys
import time
from functools import partial

import numpy as np

import hypercon as hc
from hypercon import threads, training

ROUNDS = 9
CASES = {
    "MLP 256-256 on 8x8 digits": ("digits", hc.nn.mlp, 25),
    "CNN 16-32-64 on 28x28 images": (
        "fashion-mini",
        partial(hc.nn.cnn, widths=(16, 32, 64), strides=(2, 2, 2)),
        4,
    ),
    "MLP 2048-2048 on 28x28 images": ("fashion-mini", partial(hc.nn.mlp, widths=(2048, 2048)), 1),
}


def measure(data, make, steps):
    """Milliseconds a step for each number of BLAS threads, medians over rounds, and the median ratio."""
    rng = np.random.default_rng(0)
    images = hc.data.load(data).images
    encoder = make(images.shape[1:], rng=rng)
    optimizer = hc.optim.Adam(encoder.parameters(), 2e-3)
    objective = partial(hc.info_nce, temperature=0.2)
    spent = {1: [], 2: []}
    for turn in range(ROUNDS):
        for count in (1, 2) if turn % 2 else (2, 1):
            for library in threads._blas_libraries():
                library.set_num_threads(count)
            start = time.perf_counter()
            for i in range(steps):
                chosen = rng.permutation(len(images))[:256]
                training._step(encoder, images[chosen], objective, optimizer, hc.data.mild(), rng, i)
            spent[count].append(1000 * (time.perf_counter() - start) / steps)
    ratio = float(np.median(np.array(spent[2]) / np.array(spent[1])))
    return {count: float(np.median(times)) for count, times in spent.items()}, ratio


if __name__ == "__main__":
    loops = []
    if sys.argv[1:] == ["--busy"]:
        loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(threads.cores())]
    try:
        for name, case in CASES.items():
            spent, ratio = measure(*case)
            print(f"{name}: {spent[1]:.0f} ms with one thread, {spent[2]:.0f} ms with two, ratio {ratio:.2f}")
    finally:
        for loop in loops:
            loop.kill()
