"""A Slack of one's own: Web API, Socket Mode and signed requests as Slack documents them, as far as approvals go.

For tests and the demo. Nothing leaves the machine. It imports nothing of the product, so that both sides of the
conversation cannot share a mistake.
"""

from compose.slack.server import LocalSlack
from compose.slack.workspace import Message, Workspace

__all__ = ["LocalSlack", "Message", "Workspace"]
