"""The exercises of the lessons, by id: a file for each lesson, in which each exercise is declared."""

from __future__ import annotations

from hypercon.coursework.exercise import Exercise
from hypercon.coursework.lessons import (
    l01_reverse_mode,
    l02_sphere,
    l03_infonce,
    l04_temperature,
    l05_alignment_uniformity,
    l06_encoder,
    l07_dilemma,
    l08_negatives,
    l09_large_batches,
    l10_beyond,
)

_LESSONS = (
    l01_reverse_mode,
    l02_sphere,
    l03_infonce,
    l04_temperature,
    l05_alignment_uniformity,
    l06_encoder,
    l07_dilemma,
    l08_negatives,
    l09_large_batches,
    l10_beyond,
)

EXERCISES: dict[str, Exercise] = {exercise.id: exercise for lesson in _LESSONS for exercise in lesson.EXERCISES}
