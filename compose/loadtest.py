"""`make loadtest`: a real k6 against a real `rb serve` on the local stack.

The servers are those of `rb up`; the pipeline, its topics and its keys are the run's own and are taken away afterwards.
What is asked for is a runbook that touches nothing, so that the whole way is walked: endpoint, Kafka, decision, graph.
"""

import argparse
import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from redis.asyncio import Redis

from compose import binaries, stack
from compose.addresses import Addresses
from compose.demo import run as runs
from compose.demo.pipeline import Pipeline, write_settings
from compose.demo.run import Run
from compose.demo.wire import remove_topics
from compose.errors import Missing, StackError
from compose.paths import folders
from compose.progress import Show

RUNBOOK = "loadtest-counts"
TEXT = """\
runbook:
  id: loadtest-counts
  name: Counts to two, and touches nothing
  version: "1.0"
  author: rootmend
  type: monitoring
  trigger:
    manual: true
  safety:
    require_approval: false
    cooldown: 0s
  steps:
    - id: count
      name: Count
      action: calculate
      params: {expression: "{{ 1 + 1 }}"}
  verification: {settle: 1s, timeout: 10s}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; gives k6's exit code, which is not 0 when a threshold was crossed."""
    parser = argparse.ArgumentParser(prog="make loadtest", description=__doc__)
    parser.add_argument("--vus", default="10,50,0", help="callers at the end of each stage")
    parser.add_argument("--durations", default="1m,3m,1m", help="length of each stage")
    parser.add_argument("--run", action="store_true", help="really run the runbook instead of only deciding about it")
    chosen = parser.parse_args(arguments)
    try:
        with Show() as show:
            k6 = binaries.ensure(folders().cache, "k6", show)
            ran = any(server.state == "up" for server in stack.status())
            addresses = stack.up(on_event=show)
        try:
            return asyncio.run(_measure(addresses, k6, chosen))
        finally:
            if not ran:
                stack.down()
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1


async def _measure(addresses: Addresses, k6: Path, chosen: argparse.Namespace) -> int:
    run, token = runs.begin(addresses), secrets.token_urlsafe(24)
    folder = run.folder / "runbooks"
    folder.mkdir()
    (folder / f"{RUNBOOK}.yaml").write_text(TEXT, encoding="utf-8")
    extra = {"api": {"port": 0, "token": token}, "runbooks": {"paths": [str(folder)]}}
    write_settings(run, addresses, extra)
    pipeline, written = Pipeline(run, {}), run.folder / "load.js"
    try:
        await pipeline.start()
        ramp = ("--vus", chosen.vus, "--durations", chosen.durations, "--url", pipeline.url)
        way = "--no-dry-run" if chosen.run else "--dry-run"
        code, said = await pipeline.rb("loadtest", RUNBOOK, *ramp, way, "-o", str(written))
        if code:
            raise Missing(f"rb loadtest wrote no script: {said}")
        return await asyncio.to_thread(_k6, k6, written, token)
    finally:
        await pipeline.stop()
        await _clean_up(addresses, run)


def _k6(k6: Path, script: Path, token: str) -> int:
    env = {**os.environ, "LOADTEST_TOKEN": token, "K6_NO_USAGE_REPORT": "true"}
    return subprocess.run([str(k6), "run", "--quiet", str(script)], env=env, check=False).returncode  # noqa: S603 - ours


async def _clean_up(addresses: Addresses, run: Run) -> None:
    """Take away what the run made outside the graph, which keeps its history."""
    if addresses.kafka:
        await asyncio.to_thread(remove_topics, addresses.kafka.bootstrap_servers, run)
    if addresses.redis:
        async with Redis.from_url(addresses.redis.url) as redis:
            keys = [key async for key in redis.scan_iter(match=f"{run.redis_prefix}*", count=1000)]
            if keys:
                await redis.delete(*keys)
    runs.forget(run)


if __name__ == "__main__":
    sys.exit(main())
