"""Policies as files: their shape, how they are read and followed, and what they say."""
