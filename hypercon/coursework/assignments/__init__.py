"""The assignments by name."""

from hypercon.coursework.assignments.a1_autograd import A1
from hypercon.coursework.assignments.a2_infonce import A2
from hypercon.coursework.assignments.a3_sphere import A3

ASSIGNMENTS = {assignment.id: assignment for assignment in (A1, A2, A3)}
