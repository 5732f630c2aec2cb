"""The result for people, and for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

Line = tuple[str, str, str]


def as_json(result: Mapping[str, Any]) -> None:
    """Print everything that was measured."""
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def as_table(result: Mapping[str, Any]) -> None:
    """Print one table; numbers of several rounds are their medians."""
    found = result["machine"]
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(
        title=f"{found['cpu']}, {found['cores']} cores; load {result['load_before'][0]:.1f} before, "
        f"{result['load_after'][0]:.1f} after",
        title_justify="left",
    )
    for column in ("what", "measured", "goal or floor"):
        table.add_column(column, overflow="fold")
    for line in _lines(result):
        table.add_row(*line)
    console.print(table)


def _lines(result: Mapping[str, Any]) -> Iterator[Line]:
    if found := result.get("gate"):
        yield from _gate(found)
    if found := result.get("latency"):
        yield from _latency(found)
    if found := result.get("decide"):
        yield from _decide(found)
    if found := result.get("memory"):
        yield from _memory(found)
    for one in result.get("audit") or ():
        yield from _audit(one)
    if found := result.get("help"):
        yield "rb --help", f"p50 {found['p50']:.0f} ms, worst {found['worst']:.0f} ms of {found['count']}", "< 300 ms"


def _gate(found: Mapping[str, Any]) -> Iterator[Line]:
    rounds = f"{len(found['gate_rounds'])} rounds of {found['seconds']:g} s at {found['rate_per_second']:g}/s"
    kinds = (
        ("gate", f"gate, one by one ({rounds})", "p99 < 2 ms"),
        ("batches", "gate, all that is due in one call", "p99 < 2 ms"),
        ("floor", "  floor, one pipelined call", ""),
    )
    for name, what, goal in kinds:
        one = found[name]
        told = ", ".join(f"{key} {one[key]:.2f} ms" for key in ("p50", "p99", "p999", "worst"))
        if "redis_us" in one:
            told += f"; {one['decisions_per_call']:g} in a call, {one['redis_us']:.0f} us of Redis each"
        yield what, told, goal


def _latency(found: Mapping[str, Any]) -> Iterator[Line]:
    rounds = f"{len(found['rounds'])} rounds of {found['seconds']:g} s at {found['rate_per_second']:g}/s"
    yield f"RCA produced to first step ({rounds})", _series(found["started"]), "p50 < 50 ms, p99 < 200 ms"
    floor = found["floor"]
    yield (
        "  floor, same servers, by turns",
        _series(floor),
        f"{found['ratio_p50']}x at p50, {found['ratio_p99']}x at p99",
    )
    yield "  to the decision on its topic", _series(found["decided"]), ""
    yield "  to the claim", _series(found["claimed"]), ""
    yield "  to verified and ended", _series(found["verified"]), "settle time 0.1 s"
    cpu = found["rounds"][-1]["cpu_ms_per_message"]
    most = sorted(cpu.items(), key=lambda item: -item[1])[:5]
    yield "  processor time for each message", ", ".join(f"{name} {value:.0f} ms" for name, value in most), ""
    for name, what in (("cores_busy_before", "before"), ("cores_busy_on_machine", "during")):
        yield f"  cores busy {what} each round", _many([round(one[name], 2) for one in found["rounds"]]), ""


def _series(numbers: Mapping[str, Any]) -> str:
    text = (
        f"p50 {numbers['p50']:.1f}  p90 {numbers['p90']:.1f}  p99 {numbers['p99']:.1f}  worst {numbers['worst']:.0f} ms"
    )
    missing = f"  ({numbers['missing']:g} missing)" if numbers["missing"] else ""
    return f"{text}  n={numbers['count']:g}{missing}"


def _decide(found: Mapping[str, Any]) -> Iterator[Line]:
    floor = f"floor {_many(found['floor_per_second'])}"
    yield f"refusals a second ({found['inputs']} at once)", _many(found["refusals_per_second"]), floor
    yield f"repeats a second ({found['inputs']} at once)", _many(found["repeats_per_second"]), floor


def _memory(found: Mapping[str, Any]) -> Iterator[Line]:
    books = f"with {found['runbooks']} runbooks"
    yield f"rb serve ready {books}", f"{found['ready_seconds_median']:.2f} s of {found['ready_seconds']}", ""
    yield f"resident {books}, after start", f"{max(found['resident_mb_after_start']):.0f} MB", "< 200 MB"
    after, peak = found["resident_mb_after_messages"], found["resident_mb_peak"]
    yield f"resident after {found['messages']} messages", f"{after:.0f} MB (peak {peak:.0f} MB)", "< 200 MB"


def _audit(found: Mapping[str, Any]) -> Iterator[Line]:
    size = f"{found['entries']:,} entries"
    one = f"p50 {found['append_one_ms']:.1f}  p99 {found['append_one_p99_ms']:.1f} ms"
    yield f"audit entry appended, at {size}", f"{one}; in batches {found['append_batch_per_second']:,}/s", "constant"
    checked = f"{found['verify_seconds']:.1f} s, {found['verify_per_second']:,}/s"
    yield f"audit trail checked, {size}", checked, f"memory grew {found['verify_grew_mb']:.0f} MB"


def _many(values: list[float]) -> str:
    return " / ".join(str(value) for value in values)
