"""The two paths: decide (short, batched, keeps up with the stream) and act (long, concurrent, survives its process)."""
