"""``make chaos``: kills the pipeline at every failpoint and at random, and checks from outside what came of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.chaos.kinds import KINDS
from tests.chaos.matrix import FIRST, MATRIX
from tests.chaos.report import Report
from tests.chaos.rounds import RandomKills, failpoint_round
from tests.chaos.site import site


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="random kills after the failpoints (1000)")
    parser.add_argument("--seed", type=int, default=None, help="of the random kills; left out, one is chosen and shown")
    parser.add_argument(
        "--point", action="append", help="only this failpoint; may be given several times; 'none': none"
    )
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind of step; as above")
    parser.add_argument(
        "--quick", type=int, default=0, help="instead of each failpoint by itself: this many rounds with all, once each"
    )
    parser.add_argument("--each", type=int, default=25, help="random kills between two looks (25)")
    parser.add_argument("--minutes", type=float, default=0, help="begin no further round after so long (0: no limit)")
    parser.add_argument("--json", type=Path, default=None, help="write the result here as well")
    parser.add_argument("--keep", type=Path, default=None, help="leave logs and settings in this folder")
    return parser.parse_args(given)


def servers() -> Any:
    """Addresses of the local stack, which is started if it does not run."""
    from compose import stack as local  # noqa: PLC0415 - starts nothing when imported, but takes its time

    found = local.up()
    return SimpleNamespace(
        neo4j_uri=found.neo4j.uri,
        neo4j_user=found.neo4j.user,
        neo4j_password=found.neo4j.password,
        admin_kubeconfig=str(found.admin_kubeconfig),
        settings_file=found.settings_file,
    )


async def run(options: argparse.Namespace, report: Report, folder: Path) -> None:
    kinds = [KINDS[name] for name in options.kind or KINDS]
    loop = asyncio.get_running_loop()
    end = loop.time() + options.minutes * 60 if options.minutes else float("inf")
    async with site(servers(), folder) as place:
        for number in range(options.quick):
            shuffled = random.Random(options.seed + number).sample(kinds, len(kinds))  # noqa: S311 - repeatable
            report.add(await failpoint_round(place, f"all {number + 1}", list(MATRIX), shuffled, patience=600, most=1))
        for point, chosen in () if options.quick else MATRIX.items():
            if options.point and point not in options.point:
                continue
            wanted = [kind for kind in kinds if kind.name in chosen]
            if wanted and loop.time() < end:
                points = [*FIRST.get(point, ()), point]
                report.add(await failpoint_round(place, point, points, wanted, most=2 * len(wanted)), dies=True)
        killer = RandomKills(place, kinds, options.seed, each=options.each)
        done = number = 0
        while done < options.kills and loop.time() < end:
            number += 1
            one = await killer.round(number, min(options.each, options.kills - done))
            done += one.deaths
            report.add(one)


def main() -> int:
    options = arguments()
    # Also when it is started in the background or told to end by others, nothing of it stays on the servers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    options.seed = random.randrange(2**31) if options.seed is None else options.seed  # noqa: S311 - no secret
    report = Report(options.seed, f"make chaos ARGS='--seed {options.seed} --kills {options.kills}'")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rootmend-chaos-", dir=options.keep))
    try:
        asyncio.run(run(options, report, folder))
    finally:
        report.end()
        if options.json:
            options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
