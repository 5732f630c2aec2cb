"""From signal to match: what arrived, what caused it, which runbook answers it."""
