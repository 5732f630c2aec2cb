"""Entry points and adapters: settings, the composition root, the pipeline, the command line."""
