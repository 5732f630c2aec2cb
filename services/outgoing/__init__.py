"""The way out: which addresses may be called, checked on the address that is really connected to."""
