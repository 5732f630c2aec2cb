"""Asking people, whatever they look at: questions as facts, answers with an identity, surfaces that stay true."""
