"""The runbook language: model, loaders, expressions, lint, catalog."""
