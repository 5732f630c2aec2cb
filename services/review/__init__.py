"""What a changed folder of runbooks means, in one report."""
