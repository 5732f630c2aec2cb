"""The Kubernetes API server, reached through kubernetes.aio."""
