# ruff: noqa: E501 - the lines of a page are as long as they are
"""Writes docs/metrics.md from the declared metrics, so that it cannot say anything else than the code."""

from __future__ import annotations

from services.metrics import EVENTS, METRICS

_INTRO = """# Metrics, health, logs

<!-- Written by `make docs` from services/metrics.py. -->

`rb serve` listens on `api.host` and `api.port` (http://127.0.0.1:8088).

| path | says |
|---|---|
| `/metrics` | the metrics below |
| `/healthz` | 200 while this process works: its roles run and its event loop comes round. 503: restart it |
| `/readyz` | 200 while the pipeline can work with what it depends on; each dependency is asked, answers are kept for two seconds. 503: something needed is away. Redis away is `degraded: approval only`, still 200 |
| `POST /api/v1/alertmanager` | webhooks of Alertmanager; off until `api.receiver_token` is set |

## Metrics
"""

_RECEIVER = """
## Alertmanager without KGroot

```yaml
receivers:
  - name: rootmend
    webhook_configs:
      - url: http://rootmend:8088/api/v1/alertmanager
        send_resolved: true
        max_alerts: 200            # keeps the body below api.max_body_bytes
        http_config:
          authorization: {type: Bearer, credentials: <api.receiver_token>}
```

202 is answered only when Kafka has acknowledged the body, which goes to the `alerts` topic byte for byte. 503 with `Retry-After` while Kafka is
away: Alertmanager sends it again by itself, and nothing is lost.

## Logs

One line for each event on standard error, JSON unless it is a terminal (`logging.format`, `logging.level`). `event_id`, `incident_id`,
`execution_id` and `step` tie a signal to what was done about it. Values under names such as `password` or `token`, passwords in addresses, bearer
tokens and every secret that was read are masked.
"""


def render() -> str:
    """The page."""
    lines = [_INTRO, "| metric | type | labels | |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        text = metric.help
        if metric.buckets:
            text += f". Buckets: {', '.join(f'{bucket:g}' for bucket in metric.buckets)} s"
        lines.append(f"| `{metric.name}` | {metric.kind.__name__.lower()} | {labels} | {text} |")
    lines += [_QUESTIONS, "## Events behind them\n", _EVENTS, "| event | facts |", "|---|---|"]
    lines += [f"| `{name}` | {facts} |" for name, facts in EVENTS.items()]
    return "\n".join(lines) + "\n" + _RECEIVER


_EVENTS = (
    "The core knows no metrics library: it calls `Hooks.event(name, **facts)`. Unknown events and facts are ignored.\n"
)

_QUESTIONS = """
Questions that are worth an alert:

```promql
max(rootmend_kafka_lag) > 10000                                                        # falling behind
rootmend_dependency_up == 0                                                            # something is away
rootmend_waiting_approvals > 0                                                         # a human is needed
sum(rate(rootmend_dead_letters_total[5m])) > 0                                         # somebody sends what cannot be read
histogram_quantile(0.99, sum by (le) (rate(rootmend_gate_seconds_bucket[5m]))) > 0.1   # the gate is slow
sum(rate(runbook_rollbacks_total[1h])) / sum(rate(runbook_executions_total[1h])) > 0.2 # fixes that do not hold
rootmend_runbooks_rejected > 0                                                         # a broken runbook file
```
"""
