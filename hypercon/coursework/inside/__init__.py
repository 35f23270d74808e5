"""What runs beside the student's code. It imports nothing of hypercon, so that nothing of it is there to be found.

The judge starts it by its folder, as the package ``inside``; of it, the judge itself imports `frames` and `system`.
"""
