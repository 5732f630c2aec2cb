"""The ``rb`` command."""
