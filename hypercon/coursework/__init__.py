"""Coursework: exercises judged by properties, and a grader whose judge never runs what a student wrote."""
