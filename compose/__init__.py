"""The local stack: the real servers as plain processes or containers."""
