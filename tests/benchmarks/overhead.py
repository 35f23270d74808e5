"""What an operation costs when its arrays are tiny: ``python tests/benchmarks/overhead.py [--json FILE]``.

1,000 operations on 8 float32 numbers, forward and backward, in hypercon and whichever of PyTorch, autograd and MyGrad
are installed. Each has a process of its own; results are compared first; then all take turns, round by round, so that a
busy machine slows them alike. Medians, as ratios to PyTorch where it is there.
"""

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

OPERATIONS, ROUNDS, CALLS = 1000, 15, 5
START = np.linspace(-1, 1, 8, dtype=np.float32)


def chain(x):
    """The work: y = 1.001 y + x, over and over, and the sum."""
    y = x
    for _ in range(OPERATIONS // 2):
        y = y * 1.001
        y = y + x
    return y.sum()


def hypercon():
    import hypercon as hc

    def run():
        x = hc.tensor(START, requires_grad=True)
        chain(x).backward()
        return x.grad.numpy()

    return run


def torch():
    import torch

    def run():
        x = torch.from_numpy(START).clone().requires_grad_()
        chain(x).backward()
        return x.grad.numpy()

    return run


def autograd():
    from autograd import grad

    gradient = grad(chain)
    return lambda: gradient(START)


def mygrad():
    import mygrad

    def run():
        x = mygrad.tensor(START)
        chain(x).backward()
        return x.grad

    return run


PEERS = {"hypercon": hypercon, "torch": torch, "autograd": autograd, "mygrad": mygrad}


def serve(name):
    """One competitor: the gradient once, then the median of a few calls each time it is asked."""
    run = PEERS[name]()
    print(json.dumps(np.asarray(run()).tolist()), flush=True)
    for _ in sys.stdin:
        seconds = []
        for _ in range(CALLS):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(statistics.median(seconds), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--serve", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    present = [name for name in PEERS if importlib.util.find_spec(name)]
    for name in PEERS.keys() - set(present):
        print(f"{name} is not installed: pip install {name}")
    processes = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--serve", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in present
    }
    answers = {name: np.array(json.loads(process.stdout.readline())) for name, process in processes.items()}
    for name in present[1:]:
        error = np.abs(answers[name] / answers["hypercon"] - 1).max()
        print(f"{name}: gradient differs from hypercon's by {error:.1e}")
    seconds = {name: [] for name in present}
    for _ in range(ROUNDS):
        for name, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds[name].append(float(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    medians = {name: statistics.median(values) / OPERATIONS for name, values in seconds.items()}
    base = "torch" if "torch" in medians else "hypercon"
    for name, value in medians.items():
        print(f"{name:10} {value * 1e6:6.2f} us an operation, {value / medians[base]:.2f} of {base}")
    if arguments.json:
        result = {"seconds": medians, "machine": platform.machine(), "python": platform.python_version()}
        Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
