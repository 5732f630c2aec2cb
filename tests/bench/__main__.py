"""``make bench``: what the product takes, side by side with the floor, on the servers of the local stack."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from services import collector
from tests.bench import audit, command, decide, gate, latency, machine, memory, report
from tests.bench.site import redis_alone, site

PARTS = ("help", "gate", "latency", "decide", "memory", "audit")
_RESULTS = Path(__file__).with_name("results")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="length of one round of latency (30)")
    parser.add_argument("--rate", type=float, default=20, help="RCA messages a second (20)")
    parser.add_argument("--gate-rate", type=float, default=1000, help="decisions of the gate a second (1000)")
    parser.add_argument("--gate-seconds", type=float, default=10, help="length of one round of the gate (10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (3)")
    parser.add_argument("--workloads", type=int, default=120, help="Deployments that are acted on in turn (120)")
    parser.add_argument("--runbooks", type=int, default=1000, help="runbooks for start and memory (1000)")
    parser.add_argument("--patience", type=float, default=0, help="seconds that a round waits for a quiet machine (0)")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be given several times")
    parser.add_argument(
        "--entries", type=int, action="append", help="size of the audit trail, several times to see it grow (10000)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    return parser.parse_args(given)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    parts = tuple(options.only or PARTS)
    began = datetime.now(UTC)
    result: dict[str, Any] = {"began": began.isoformat(), "machine": machine.describe(), "load_before": machine.load()}
    if "help" in parts:
        result["help"] = command.measure()
    if "audit" in parts:
        result["audit"] = await audit.measure(options.entries or [10_000])
    if "gate" in parts:
        async with redis_alone() as url:
            result["gate"] = await gate.measure(
                url, rate=options.gate_rate, seconds=options.gate_seconds, rounds=options.rounds
            )
    if set(parts) - {"help", "audit", "gate"}:
        async with site(options.workloads) as place:
            if "latency" in parts:
                result["latency"] = await latency.measure(
                    place,
                    _RESULTS,
                    rate=options.rate,
                    seconds=options.seconds,
                    rounds=options.rounds,
                    patience=options.patience,
                )
            if "decide" in parts:
                result["decide"] = await decide.measure(place, _RESULTS, rounds=options.rounds)
            if "memory" in parts:
                result["memory"] = await memory.measure(
                    place, _RESULTS, runbooks=options.runbooks, rounds=options.rounds, rate=options.rate
                )
    result["load_after"] = machine.load()
    path = _RESULTS / f"{began:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def main() -> None:
    options = arguments()
    collector.settle()
    result = uvloop.run(measure(options))
    report.as_json(result) if options.json else report.as_table(result)


if __name__ == "__main__":
    main()
