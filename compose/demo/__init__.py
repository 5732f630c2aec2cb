"""The demo: seven incidents on the practice cluster, from the alert to the proof.

It talks to the pipeline only from outside: it runs `rb serve` and `rb approvals`, writes to Kafka, the graph and the
cluster, and watches what comes of it.
"""
