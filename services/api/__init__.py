"""The HTTP side: health, metrics, and the receiver for Alertmanager."""
