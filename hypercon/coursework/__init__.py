"""Coursework: exercises judged by properties, and a grader whose judge never runs what a student wrote."""

from hypercon.coursework.checking import check
from hypercon.coursework.picture import described
from hypercon.coursework.report import Report

__all__ = ["Report", "check", "described"]
