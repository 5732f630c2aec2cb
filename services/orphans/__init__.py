"""Executions, questions and locks that nobody looks after: found, explained, mended."""
