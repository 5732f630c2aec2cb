"""Approvals in Slack: questions as Block Kit messages, answers by Socket Mode or signed HTTP."""
