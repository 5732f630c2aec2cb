"""What can go wrong with the demo."""

from compose.errors import StackError


class DemoFailed(StackError):
    """Something did not come out as told."""
