"""Only reviewed runbooks run: signatures beside the files, and revisions of Git that somebody approved."""
