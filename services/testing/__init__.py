"""Runbooks on trial: recorded incidents replayed against changed runbooks, and runbooks run against declared fakes."""
