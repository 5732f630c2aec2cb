"""Logins and tries in vain are told, bounded: neither a busy token nor a flood of forged requests fills the trail."""

from __future__ import annotations

import pytest
from fakes.world import FakeClock

from safety.access import Actor, ActorKind
from safety.trail import SYSTEM, EntryKind
from services.access.authenticator import Authenticator, StaticToken
from services.access.denials import MOST_A_MINUTE, NOBODY, Denials, Try
from services.access.errors import Unauthenticated
from services.access.logins import EVERY_SECONDS, Logins
from services.masking import Masker

EVE = Actor(ActorKind.TOKEN, "api.token", "Eve's", claims={"jti": "1", "secret": "x"})


class Trail:
    """A trail in memory, which can be away."""

    def __init__(self):
        self.entries = []
        self.away = False

    async def append(self, tenant, entries):
        if self.away:
            raise ConnectionError("away")
        assert tenant == SYSTEM
        self.entries += entries


class Shared:
    """What of Redis is needed, in memory."""

    def __init__(self):
        self.keys = {}
        self.asked = 0

    async def exists(self, key):
        self.asked += 1
        return int(key in self.keys)

    async def set(self, key, value, ex):
        self.keys[key] = ex


@pytest.fixture
def trail():
    return Trail()


@pytest.fixture
def clock():
    return FakeClock()


async def test_a_token_is_told_once_an_hour_and_never_itself(trail, clock):
    """However often it is shown; after an hour it is told again; a token that is not known is no login."""
    authenticator = Authenticator([StaticToken("hers", EVE)], logins=Logins(trail, None, "t:", clock))
    for _ in range(5):
        assert await authenticator.actor("hers") is EVE
    with pytest.raises(Unauthenticated):
        await authenticator.actor("nobody's")
    (entry,) = trail.entries
    assert (entry.kind, entry.actor) == (EntryKind.LOGIN, "token:api.token")
    assert entry.facts["way"] == "token of the settings"
    assert entry.facts["jti"] == "1"
    assert "hers" not in str(entry)
    assert "secret" not in entry.facts
    clock.advance(EVERY_SECONDS + 1)
    await authenticator.actor("hers")
    assert len(trail.entries) == 2


async def test_processes_share_what_was_told_and_ask_once_an_hour(trail, clock):
    """A second process, such as a command, finds it told; the key holds no token."""
    shared = Shared()
    for _ in range(2):
        process = Logins(trail, shared, "t:", clock)
        for _ in range(3):
            await process.note(EVE, "API token", "hers")
    assert (len(trail.entries), shared.asked) == (1, 2)
    assert list(shared.keys.values()) == [3600]
    assert "hers" not in next(iter(shared.keys))


async def test_a_trail_that_is_away_keeps_nobody_out_and_the_login_is_told_later(trail, clock):
    """The token is good; not every call waits for the trail."""
    logins = Logins(trail, None, "t:", clock)
    trail.away = True
    await logins.note(EVE, "API token", "hers")
    trail.away = False
    await logins.note(EVE, "API token", "hers")
    assert trail.entries == []
    clock.advance(31)
    await logins.note(EVE, "API token", "hers")
    assert len(trail.entries) == 1


async def test_a_flood_of_forged_requests_hides_no_denied_person(trail, clock):
    """So many a minute from nobody; how many more there were is told with the next; people have their own count."""
    denials = Denials(trail, lambda text: text, clock)
    for _ in range(MOST_A_MINUTE + 7):
        await denials.tell(Try("slack", NOBODY, "forged"))
    assert len(trail.entries) == MOST_A_MINUTE
    await denials.tell(Try("slack approve", "slack:U1", "may not", incident_id="i", execution_id="e"))
    assert (trail.entries[-1].actor, trail.entries[-1].incident_id) == ("slack:U1", "i")
    clock.advance(61)
    await denials.tell(Try("slack", NOBODY, "forged"))
    assert trail.entries[-1].facts == {"left_out_before": 7}


async def test_what_others_claim_is_masked_cut_and_harmless(trail, clock):
    """A user id can be anything in a forged request: secrets, control characters, a megabyte."""
    masker = Masker()
    masker.register("hunter2-and-more")
    denials = Denials(trail, masker.text, clock)
    claimed = {"claimed_user": "U1\x1b[2J hunter2-and-more " + "x" * 10_000, "count": 3}
    await denials.tell(Try("slack " + "y" * 1_000, NOBODY, "hunter2-and-more", claimed))
    (entry,) = trail.entries
    assert "hunter2" not in str(entry)
    assert entry.facts["claimed_user"].isprintable()
    assert max(len(entry.subject), len(entry.facts["claimed_user"])) == 200
    assert entry.facts["count"] == 3


async def test_a_denial_that_could_not_be_told_is_counted_with_the_next(trail, clock):
    """The trail is away: the answer stays no, and the gap is visible."""
    denials = Denials(trail, lambda text: text, clock)
    trail.away = True
    await denials.tell(Try("slack", NOBODY, "forged"))
    trail.away = False
    await denials.tell(Try("slack", NOBODY, "forged"))
    assert trail.entries[0].facts == {"left_out_before": 1}
