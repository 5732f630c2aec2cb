"""Intake: from the bytes of a message to signals, or to a dead letter that says what is wrong."""
