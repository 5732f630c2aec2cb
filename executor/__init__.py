"""The plan and its life: render, dry run, run, verify, roll back."""
