"""What the installation that the settings name lacks, looked at while it works."""
