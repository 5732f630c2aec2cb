"""Whom an account stands for, and which tokens hold."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fakes.tokens import MemoryTokens
from fakes.world import FakeClock

from executor.errors import Forbidden, Unavailable
from safety.access import ActorKind, Grant
from services.access.accounts import ServiceAccountTokens
from services.access.authenticator import Authenticator, StaticToken
from services.access.errors import IdentityUnavailable, Unauthenticated
from services.access.identities import BadIdentity, Directory
from services.access.oidc import OidcVerifier
from services.access.tokens import Tokens, issue
from services.settings_access import Oidc, Person

PEOPLE = {
    "ada@example.com": Person(name="Ada", os_user="ada", slack="U0ADA", email="ada@example.com", groups=("sre",)),
    "bob": Person(os_user="robert"),
}
ISSUER = "https://idp.example.com"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


# People


def test_one_person_has_one_id_on_every_surface():
    """Login, Slack account, address and the provider's id all lead to the id that the roles name."""
    directory = Directory(PEOPLE)
    found = [
        directory.os_user("ada"),
        directory.slack("U0ADA", "somebody else's display name"),
        directory.mail("ada@example.com"),
        directory.user("ada@example.com"),
    ]
    assert {actor.person for actor in found} == {"ada@example.com"}
    assert all(actor.groups == {"sre"} and actor.human for actor in found)
    assert directory.members("sre") == {"ada@example.com"}


def test_a_stranger_in_slack_is_nobody_whatever_they_call_themselves():
    """Display names are free text."""
    stranger = Directory(PEOPLE).slack("U0EVE", "ada@example.com")
    assert (stranger.kind, stranger.owner, stranger.groups) == (ActorKind.SLACK, "", frozenset())
    assert not stranger.human
    assert Directory(PEOPLE).mail("eve@example.com") is None


def test_a_login_that_is_another_persons_id_stays_a_stranger():
    """On another machine `bob` may be somebody else: Bob's login is `robert`."""
    directory = Directory(PEOPLE)
    assert directory.os_user("robert").person == "bob"
    assert directory.os_user("bob").person == "os:bob"
    assert directory.os_user("carl").person == "carl"


@pytest.mark.parametrize(
    "identity", ["", " ", "ada ", "a\nb", "system:admin", "os:ada", "token:7f", "slack:U1", "service_account:x"]
)
def test_an_id_that_reads_like_another_kind_of_actor_is_refused(identity):
    """A provider cannot make somebody a service account, or a token."""
    with pytest.raises(BadIdentity):
        Directory().user(identity)


def test_a_provider_cannot_put_people_into_the_groups_of_the_api_server():
    """`system:` is the API server's to give."""
    assert Directory().user("ada", groups=["sre", "system:masters"]).groups == {"sre"}


# OpenID Connect


class Provider:
    """Discovery and keys of a provider, as documents; counts how often it is asked."""

    def __init__(self, **keys):
        self.keys = keys or {"one": RSA}
        self.issuer = ISSUER
        self.asked = 0
        self.away = False

    async def __call__(self, url):
        if self.away:
            raise IdentityUnavailable("away")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": self.issuer, "jwks_uri": f"{ISSUER}/keys"}
        self.asked += 1
        return {"keys": [public(name, key) for name, key in self.keys.items()]}


def public(name, key):
    """A key as JWK."""
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": name, "use": "sig"}


def token(key=RSA, algorithm="RS256", kid="one", typ="JWT", without=(), **changes):
    """A token that holds, but for the changes."""
    now = datetime.now(UTC)
    claims = {"iss": ISSUER, "aud": "rootmend", "sub": "ada", "iat": now, "exp": now + timedelta(minutes=5),
              "groups": ["sre"], "name": "Ada"} | changes  # fmt: skip
    claims = {name: value for name, value in claims.items() if name not in without}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid, "typ": typ})


def verifier(provider, clock=None, **settings):
    """A verifier for the provider."""
    chosen = Oidc(issuer=ISSUER, audience=("rootmend",), **settings)
    return OidcVerifier(chosen, Directory(PEOPLE), provider, clock or FakeClock())


async def test_a_token_that_holds_is_its_user_with_the_groups_it_tells():
    """Id by the configured claim; name only to be read."""
    actor = await verifier(Provider()).actor(token())
    assert (actor.kind, actor.id, actor.name, actor.groups) == (ActorKind.USER, "ada", "Ada", {"sre"})
    assert actor.claims == {"iss": ISSUER, "sub": "ada"}
    one = await verifier(Provider(one=EC)).actor(token(EC, "ES256", groups="ops"))
    assert one.groups == {"ops"}


NOW = datetime.now(UTC)
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def unsigned(algorithm="none"):
    """A token without a signature."""
    head, body, _ = token().split(".")
    changed = {**json.loads(base64.urlsafe_b64decode(head + "==")), "alg": algorithm}
    return f"{base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip('=')}.{body}."


def confused():
    """Signed with HMAC, the public key as its secret (PyJWT itself would refuse to sign it)."""
    import hashlib  # noqa: PLC0415 - only here
    import hmac  # noqa: PLC0415 - as above

    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one","typ":"JWT"}').decode().rstrip("=")
    text = f"{head}.{token().split('.')[1]}"
    mac = hmac.new(PEM, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def tampered():
    """Another subject under the same signature."""
    head, _, signature = token().split(".")
    return f"{head}.{token(sub='eve').split('.')[1]}.{signature}"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lambda: token(OTHER), "Signature verification failed"),
        (tampered, "Signature verification failed"),
        (unsigned, "signature 'none' is not accepted"),
        (lambda: unsigned("None"), "signature 'None' is not accepted"),
        (confused, "signature 'HS256' is not accepted"),
        (lambda: token(algorithm="RS512"), "signature 'RS512' is not accepted"),
        (lambda: token(iss="https://evil.example.com"), "issuer"),
        (lambda: token(iss=f"{ISSUER}/"), "issuer"),
        (lambda: token(aud="another-service"), "Audience"),
        (lambda: token(aud=[]), "aud"),
        (lambda: token(exp=NOW - timedelta(minutes=5)), "expired"),
        (lambda: token(nbf=NOW + timedelta(days=1)), "not yet valid"),
        (lambda: token(iat=NOW + timedelta(days=1)), "not yet valid"),
        (lambda: token(without=("exp",)), "exp"),
        (lambda: token(without=("aud",)), "aud"),
        (lambda: token(without=("iss",)), "iss"),
        (lambda: token(without=("sub",)), "sub"),
        (lambda: token(without=("iat",)), "iat"),
        (lambda: token(kid="unknown"), "a key that its issuer does not have"),
        (lambda: token(typ="logout+jwt"), "is for something else"),
        (lambda: token(sub="system:serviceaccount:ci:bot"), "another kind of actor"),
        (lambda: token(sub="token:7f"), "another kind of actor"),
        (lambda: "a.b.c", "does not hold"),
        (lambda: token(pad="x" * 20_000), "too long"),
    ],
)
async def test_a_token_that_does_not_hold_is_nobody_and_is_not_repeated(given, why):
    """Signature, algorithm, issuer, audience, times, type: each by itself is enough for a no."""
    text = given()
    with pytest.raises(Unauthenticated, match=why) as caught:
        await verifier(Provider()).actor(text)
    assert text not in str(caught.value)


async def test_another_claim_can_be_the_id_and_an_address_only_when_it_was_verified():
    """Whoever may type any address in would be anybody."""
    by_mail = verifier(Provider(), user_claim="email")
    actor = await by_mail.actor(token(email="ada@example.com", email_verified=True))
    assert (actor.person, actor.groups) == ("ada@example.com", {"sre"})
    for claims in ({"email": "ada@example.com"}, {"email": "ada@example.com", "email_verified": "true"}, {}):
        with pytest.raises(Unauthenticated):
            await by_mail.actor(token(**claims))


async def test_keys_are_kept_and_a_rotated_one_is_noticed_at_once():
    """One look for many tokens; an unknown key leads to another, but not to one for each made-up key."""
    provider, clock = Provider(), FakeClock()
    one = verifier(provider, clock)
    for _ in range(5):
        await one.actor(token())
    assert provider.asked == 1
    provider.keys = {"two": OTHER}
    with pytest.raises(Unauthenticated):
        await one.actor(token(OTHER, kid="two"))
    await clock.sleep(11)
    assert (await one.actor(token(OTHER, kid="two"))).id == "ada"
    assert provider.asked == 2
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await one.actor(token(kid=f"made-up-{number}"))
    assert provider.asked == 2
    with pytest.raises(Unauthenticated):
        await one.actor(token())  # the old key is gone


async def test_while_the_provider_is_away_known_keys_hold_for_a_while_and_nobody_new_is_let_in():
    """An outage of the provider is no outage of ours, and no open door either."""
    provider, clock = Provider(), FakeClock()
    one = verifier(provider, clock, keys_ttl=timedelta(minutes=10))
    provider.away = True
    with pytest.raises(IdentityUnavailable):
        await one.actor(token())
    provider.away = False
    await one.actor(token())
    provider.away = True
    await clock.sleep(11 * 60)
    assert (await one.actor(token())).id == "ada"
    await clock.sleep(10 * 60)
    with pytest.raises(IdentityUnavailable):
        await one.actor(token())


async def test_a_provider_that_calls_itself_otherwise_is_not_believed():
    """Its keys would be another's."""
    provider = Provider()
    provider.issuer = "https://evil.example.com"
    with pytest.raises(IdentityUnavailable, match="calls itself"):
        await verifier(provider).actor(token())


# API tokens


def laptop(clock):
    """A token of Ada's that holds for a day."""
    day = timedelta(days=1)
    return issue("laptop", [Grant("viewer")], owner="ada", by="user:ada", now=clock.now(), lasts=day)


async def test_an_api_token_is_its_roles_its_owner_and_nothing_else():
    """And it notes its use, at most once a minute."""
    store, clock = MemoryTokens(), FakeClock()
    text, kept = issue(
        "laptop", [Grant("viewer")], owner="ada", by="user:ada", now=clock.now(), lasts=timedelta(days=1)
    )
    await store.create(kept)
    tokens = Tokens(store, clock)
    actor = await tokens.actor(text)
    assert (actor.kind, actor.id, actor.person, actor.grants) == (ActorKind.TOKEN, kept.id, "ada", (Grant("viewer"),))
    for _ in range(5):
        await tokens.actor(text)
    assert store.writes == 1
    await clock.sleep(61)
    await tokens.actor(text)
    assert store.tokens[kept.id].last_used_at == clock.now()


async def test_only_the_whole_token_opens_and_only_while_it_holds():
    """Not its beginning, not its hash, not another secret with its id, not after its end."""
    store, clock = MemoryTokens(), FakeClock()
    text, kept = issue(
        "laptop", [Grant("viewer")], owner="ada", by="user:ada", now=clock.now(), lasts=timedelta(days=1)
    )
    await store.create(kept)
    tokens = Tokens(store, clock)
    head = text[: text.rindex("_", 0, 22) + 1]
    for wrong in (
        text[:-1],
        text + "x",
        kept.hash,
        f"rmt_{kept.id}_{'x' * 43}",
        head,
        "rmt_",
        text.upper(),
        f"{text}\n",
    ):
        with pytest.raises(Unauthenticated, match="not known") as caught:
            await tokens.actor(wrong)
        assert text not in str(caught.value)
    await store.revoke(kept.id, "user:ada", "lost", clock.now())
    with pytest.raises(Unauthenticated, match="revoked"):
        await tokens.actor(text)
    store.tokens[kept.id] = replace(kept)
    await clock.sleep(24 * 3600)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.actor(text)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": " "}, "name"),
        ({"grants": []}, "role"),
        ({"lasts": timedelta(0)}, "longer than zero"),
        ({"lasts": timedelta(days=400)}, "at most 366 days"),
    ],
)
def test_a_token_without_purpose_role_or_end_is_not_made(changes, why):
    """Nothing lives for ever."""
    given = {"name": "x", "grants": [Grant("viewer")], "lasts": timedelta(days=1)} | changes
    name, grants = given.pop("name"), given.pop("grants")
    with pytest.raises(ValueError, match=why):
        issue(name, grants, owner="ada", by="user:ada", now=NOW, **given)


# Service accounts


class Server:
    """An API server that reviews tokens."""

    def __init__(self, **status):
        self.asked = 0
        self.error = None
        user = {"username": "system:serviceaccount:ci:bot", "uid": "u1", "groups": ["system:serviceaccounts:ci"]}
        self.status = {"authenticated": True, "user": user, "audiences": ["rootmend"]} | status

    async def review_token(self, token, audiences):
        self.asked += 1
        if self.error:
            raise self.error
        return self.status


def accounts(server, clock=None):
    """The check over that server."""
    return ServiceAccountTokens(server, ("rootmend",), clock or FakeClock(), timedelta(seconds=30))


async def test_a_service_account_is_who_the_api_server_says_and_a_yes_is_kept_for_a_short_while():
    """A deleted account does not live on."""
    server, clock = Server(), FakeClock()
    one = accounts(server, clock)
    actor = await one.actor("a.b.c")
    assert (actor.kind, actor.id, actor.name) == (ActorKind.SERVICE_ACCOUNT, "system:serviceaccount:ci:bot", "ci/bot")
    assert actor.groups == {"system:serviceaccounts:ci"}
    assert not actor.human
    await one.actor("a.b.c")
    assert server.asked == 1
    await clock.sleep(31)
    server.status = {"authenticated": False}
    with pytest.raises(Unauthenticated):
        await one.actor("a.b.c")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"authenticated": False}, "does not know"),
        ({"authenticated": "true"}, "does not know"),
        ({"audiences": ["https://kubernetes.default.svc"]}, "not for rootmend"),
        ({"audiences": None}, "not for rootmend"),
        ({"user": {"username": "ada"}}, "not of a service account"),
    ],
)
async def test_what_the_api_server_does_not_vouch_for_is_nobody(status, why):
    """Another audience, a user of the cluster, a server that names no audience; and a no is never kept."""
    server = Server(**status)
    one = accounts(server)
    for _ in range(2):
        with pytest.raises(Unauthenticated, match=why):
            await one.actor("a.b.c")
    assert server.asked == 2


@pytest.mark.parametrize("error", [Unavailable("no answer"), Forbidden("may not create tokenreviews")])
async def test_an_api_server_that_does_not_answer_lets_nobody_in(error):
    """It is told apart from a wrong token: later it may be right."""
    server = Server()
    server.error = error
    with pytest.raises(IdentityUnavailable):
        await accounts(server).actor("a.b.c")


# All together


async def test_each_token_goes_to_whoever_can_tell_and_the_rest_is_nobody():
    """Static tokens, API tokens, the provider's, service accounts; nothing falls through."""
    clock, store, server = FakeClock(), MemoryTokens(), Server()
    text, kept = issue("ci", [Grant("viewer")], owner="", by="user:ada", now=clock.now(), lasts=timedelta(days=1))
    await store.create(kept)
    static = StaticToken("staple of a battery", Directory().user("static"))
    one = Authenticator(
        [static], tokens=Tokens(store, clock), oidc=verifier(Provider(), clock), accounts=accounts(server, clock)
    )
    assert (await one.actor("staple of a battery")).id == "static"
    assert (await one.actor(text)).id == kept.id
    assert (await one.actor(token())).id == "ada"
    assert (await one.actor(token(iss="https://kubernetes.default.svc"))).kind is ActorKind.SERVICE_ACCOUNT
    for nobody in ("", "staple of a batter", "staple of a battery ", "\xff\xfe", "é", "Bearer", "."):
        with pytest.raises(Unauthenticated):
            await one.actor(nobody)
    bare = Authenticator()
    for text_ in (text, token(), "x"):
        with pytest.raises(Unauthenticated, match="not known"):
            await bare.actor(text_)


def test_an_empty_static_token_is_no_token():
    """It would let everybody in."""
    with pytest.raises(ValueError, match="everybody"):
        StaticToken("", Directory().user("static"))
