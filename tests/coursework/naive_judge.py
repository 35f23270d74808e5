"""An ordinary judge, as a foil: it runs the student's text in its own process and trusts what it finds there.

`hostile` is held against it, so that every trick is known to be one. Run as a program, in a folder of its own: marks go
to ``results.json``, and who ends with status 0 and leaves none has passed, as with a bare test runner.
"""

import json
import sys
from pathlib import Path


class Result:
    def __init__(self):
        self.score = 0


def main(path):
    import numpy as np

    import hypercon
    from hypercon.coursework.assignments import ASSIGNMENTS

    solution = {"info_nce": hypercon.info_nce}
    exercises = {exercise.name: exercise for exercise in ASSIGNMENTS["a2"].exercises}
    student = {"__name__": "submission"}
    sys.modules["submission"] = type(sys)("submission")
    exec(compile(Path(path).read_bytes(), "submission.py", "exec"), student)
    result = Result()
    rng = np.random.default_rng(0)
    for name in ("info_nce", "info_nce_gradient"):
        arguments = exercises[name].arguments(rng, 4)
        try:
            got = student[name](*arguments)
            if name in solution:
                z1, z2, temperature = arguments
                expected = solution[name](z1, z2, temperature=temperature)
                passed = abs(got - expected) <= 1e-6
            else:
                expected = exercises[name].expected(*arguments)
                for g, e in zip(got, expected, strict=True):
                    np.testing.assert_allclose(g, e, rtol=1e-6)
                passed = True
        except Exception:
            passed = False
        result.score += int(bool(passed))
    Path("results.json").write_text(json.dumps({"score": result.score}))


if __name__ == "__main__":
    main(sys.argv[1])
