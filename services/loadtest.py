"""Writes k6 scripts that ask for a runbook over REST, by ever more callers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from services.api.runs import EXECUTE, IDEMPOTENCY

BEARER = "LOADTEST_TOKEN"
"""Variable that holds the bearer token: a script holds no secrets."""

URL = "LOADTEST_URL"
"""Variable that leads the script to another server than the one it was written for."""

_K6_DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+s)?")


@dataclass(frozen=True, slots=True)
class Stage:
    """A length of time in which the number of callers moves to ``target``."""

    duration: str
    target: int


@dataclass(frozen=True, slots=True)
class LoadTest:
    """What a script does.

    Attributes:
        runbook: id.
        body: of each request.
        url: base of the server.
        stages: one after the other.
        p95_ms: 95 % of the answers must be faster.
        error_rate: most of the requests that may fail, 0 to 1.
        pause_seconds: of each caller between two requests.
    """

    runbook: str
    body: Mapping[str, Any]
    url: str
    stages: Sequence[Stage]
    p95_ms: int = 2000
    error_rate: float = 0.05
    pause_seconds: float = 1.0


def stages(vus: str, durations: str) -> tuple[Stage, ...]:
    """Stages from ``10,50,0`` and ``1m,3m,1m``.

    Raises:
        ValueError: they do not fit each other, or one cannot be read.
    """
    targets, lengths = [part.strip() for part in vus.split(",")], [part.strip() for part in durations.split(",")]
    if len(targets) != len(lengths):
        raise ValueError(f"{len(targets)} numbers of callers and {len(lengths)} durations: give as many of each")
    for length in lengths:
        if not length or not _K6_DURATION.fullmatch(length):
            raise ValueError(f"{length!r} is no duration of k6, such as 30s, 1m or 1m30s")
    for target in targets:
        if not target.isdigit():
            raise ValueError(f"{target!r} is no number of callers")
    return tuple(Stage(length, int(target)) for length, target in zip(lengths, targets, strict=True))


def script(test: LoadTest) -> str:
    """The script. Everything that comes from outside is JSON, never code."""
    options = {
        "stages": [{"duration": stage.duration, "target": stage.target} for stage in test.stages],
        "thresholds": {
            "http_req_duration": [f"p(95)<{test.p95_ms}"],
            "http_req_failed": [f"rate<{test.error_rate:g}"],
            "checks": [f"rate>{1 - test.error_rate:g}"],
        },
    }
    parts = {
        "@RUNBOOK@": re.sub(r"[^\w.-]", "_", test.runbook),
        "@OPTIONS@": _json(options),
        "@URL@": _json(test.url.rstrip("/")),
        "@PATH@": _json(EXECUTE.format(id=quote(test.runbook, safe=""))),
        "@BODY@": _json(test.body),
        "@PAUSE@": _json(test.pause_seconds),
        "@KEY@": _json(IDEMPOTENCY),
        "@TOKEN_NAME@": BEARER,
        "@URL_NAME@": URL,
    }
    return re.sub("|".join(parts), lambda found: parts[found.group()], _SCRIPT)


def _json(value: Any) -> str:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    # The only texts of JSON that are no JavaScript in every engine.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_SCRIPT = """\
// Load test of the runbook @RUNBOOK@, written by rb loadtest.
// Run it: @TOKEN_NAME@=... k6 run THIS_FILE
import { check, fail, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

const url = (__ENV.@URL_NAME@ || @URL@) + @PATH@;
const body = JSON.stringify(@BODY@);

export const options = @OPTIONS@;

export function setup() {
  if (!__ENV.@TOKEN_NAME@) {
    fail('set @TOKEN_NAME@ to the bearer token of the API (setting api.token)');
  }
  return { begun: Date.now() };
}

export default function (data) {
  const key = `load-${data.begun}-${exec.vu.idInTest}-${exec.vu.iterationInInstance}`;
  const answer = http.post(url, body, {
    headers: {
      Authorization: `Bearer ${__ENV.@TOKEN_NAME@}`,
      'Content-Type': 'application/json',
      [@KEY@]: key,
    },
  });
  check(answer, {
    'it is accepted': (a) => a.status === 202,
    'under its own id': (a) => a.status === 202 && a.json('request_id') === key,
  });
  sleep(@PAUSE@);
}
"""
