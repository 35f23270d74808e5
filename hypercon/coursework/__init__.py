"""Coursework: exercises judged by properties, and a grader whose judge never runs what a student wrote."""

from hypercon.coursework.check_report import Report
from hypercon.coursework.checking import check
from hypercon.coursework.picture import described

__all__ = ["Report", "check", "described"]
