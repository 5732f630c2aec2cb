"""The other ways to write a runbook. Each becomes the canonical form, and every part keeps its place in the file."""
