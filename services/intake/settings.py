"""What intake may be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Limits and defaults of intake.

    Attributes:
        default_tenant: of messages that name none.
        default_cluster: of messages that name none.
        max_message_bytes: larger values go to the DLQ unread.
        max_alerts: the most alerts of one Alertmanager body.
        max_depth: the deepest nesting of a message.
        max_causes: the most causes of one RCA result.
        max_ahead: how far in the future a time may lie before the time of receipt takes its place.
        max_text: longest message text that is kept, in characters.
        max_labels: the most labels of one alert.
        run_requests: the one topic from which requests to run a runbook are read.
        exporters: scrape jobs whose own pod appears in the label ``pod`` of alerts about other objects.
    """

    default_tenant: str = "default"
    default_cluster: str = "default"
    max_message_bytes: int = 1_000_000
    max_alerts: int = 1_000
    max_depth: int = 64
    max_causes: int = 1_000
    max_ahead: timedelta = timedelta(minutes=10)
    max_text: int = 2_000
    max_labels: int = 128
    run_requests: str = "remediation.run-requests"
    exporters: tuple[str, ...] = ("kube-state-metrics", "node-exporter", "kubelet", "cadvisor")
