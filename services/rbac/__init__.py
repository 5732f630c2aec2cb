"""Rights on the API server: what runbooks need, whose they are, and which are missing."""
