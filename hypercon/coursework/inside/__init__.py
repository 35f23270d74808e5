"""What runs beside the student's code: it imports nothing of hypercon, so that nothing of hypercon is there to be found.

The judge starts it by its folder, as the package ``inside``; the judge itself imports only `frames` from here.
"""
