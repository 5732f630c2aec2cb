"""Who is asking, and whether they may: identities, tokens, and the one table of entry points."""
