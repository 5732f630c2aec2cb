"""Sharing of runbooks: catalogs that are signed, checked byte by byte, and installed without surprises."""
