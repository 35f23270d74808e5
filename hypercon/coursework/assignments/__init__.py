"""The assignments by name."""

from hypercon.coursework.assignments.a1_autograd import A1
from hypercon.coursework.assignments.a2_infonce import A2
from hypercon.coursework.assignments.a3_sphere import A3
from hypercon.coursework.assignments.a4_encoder import A4
from hypercon.coursework.assignments.a5_properties import A5

ASSIGNMENTS = {assignment.id: assignment for assignment in (A1, A2, A3, A4, A5)}

EXERCISES = {
    exercise.id: exercise
    for assignment in ASSIGNMENTS.values()
    if assignment.grader is None
    for exercise in assignment.exercises
}
