"""The masker: secrets in every form in which others write them, and nothing else."""

from __future__ import annotations

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.masking import MASK, Masker

SECRET = 'k9/+q"Zp <&>=Übung\\7'
WRITTEN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=9, max_size=60).filter(
    lambda text: any(letter.isalpha() and letter.lower() > "f" for letter in text) and text.lower() != "undefined"
)


def knowing(*values):
    masker = Masker()
    for value in values:
        masker.register(value)
    return masker


FORMS = {
    "as it is": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "URL-safe base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 of base64": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "URL": lambda text: quote(text, safe=""),
    "URL with slashes": quote,
    "form": quote_plus,
    "URL in lower case": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "JSON": json.dumps,
    "JSON with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "HTML": html.escape,
    "hexadecimal": lambda text: text.encode().hex(),
    "HEXADECIMAL": lambda text: text.encode().hex().upper(),
    "Python": repr,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_known_secret_is_masked_in_each_form(form):
    """Servers, libraries and reports write what they were given in their own way."""
    written = FORMS[form](SECRET)
    masked = knowing(SECRET).text(f"before {written} after")
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert MASK in masked
    left = masked.removeprefix("before ").removesuffix(" after").replace(MASK, "")
    assert len(left) <= 24  # what stands around the secret: quotes, a key
    assert not any(written[at : at + 8] in left for at in range(len(written) - 8) if "{" not in written)


@given(WRITTEN, st.binary(max_size=7), st.binary(max_size=7), st.booleans())
def test_base64_hides_no_secret_wherever_it_stands_in_a_longer_text(secret, before, after, safe):
    """``user:password`` in a header is the usual case: the letters of the secret depend on what stands before it."""
    encode = base64.urlsafe_b64encode if safe else base64.b64encode
    written = encode(before + secret.encode() + after).decode()
    masked = knowing(secret).text(written)
    assert MASK in masked
    # At each end one letter of base64 is shared with the neighbour and may stay.
    assert len(masked.replace(MASK, "")) <= 4 * ((len(before) + len(after)) // 3 + 2)


def test_overlapping_secrets_leave_nothing_of_either():
    """Masking the first must not break the second so that its rest is shown."""
    assert knowing("abcdefghijk", "hijklmnopqr").text("x abcdefghijklmnopqr y") == f"x {MASK} y"


def test_short_values_and_numbers_are_masked_as_whole_words_only():
    """A PIN must not turn every id and every longer word into stars."""
    masker = knowing("1234", "hunter", "true", "20260101", "")
    assert masker.text("pin 1234, id 51234f, hunters hunter") == f"pin {MASK}, id 51234f, hunters {MASK}"
    assert masker.text("true 20260101T at 20260101") == f"true 20260101T at {MASK}"


def test_numbers_in_json_stay_numbers():
    """A masked number would make the record unreadable."""
    masker = knowing("20260101")
    text = '{"count":20260101,"note":"pin 20260101"}'
    assert json.loads(masker.json(text)) == {"count": 20260101, "note": f"pin {MASK}"}


def test_what_is_secret_inside_of_a_secret_is_known_too():
    """A database answers with the password, not with the whole address; a registry with its credentials."""
    masker = knowing(
        "postgresql://app:Sw0rdf%21sh@db/shop",
        json.dumps({"auths": {"registry.example.com": {"username": "robot", "password": "r0b0t-pass"}}}),
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----\n",
    )
    assert masker.text("no Sw0rdf!sh for app") == f"no {MASK} for app"
    assert masker.text("robot r0b0t-pass registry.example.com") == f"robot {MASK} registry.example.com"
    assert masker.text("line AoIBAQC7VJTUt9Us8cKj") == f"line {MASK}"


TOKENS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 8,
    "glpat-" + "a1B2" * 5,
    "xoxb-" + "1234567890-abcdefghij",
    "xapp-" + "1-A012-345-abcdef",
    "hvs." + "CAESI" * 5,
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\\nMIIEow\\nIBAAK, and cut off",
]


@pytest.mark.parametrize("token", TOKENS)
def test_well_known_tokens_are_masked_without_being_known(token):
    """They come in alert texts and annotations, which nobody reads as a secret."""
    assert Masker().text(f"found {token}") == f"found {MASK}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Authorization: Bearer abcdef0123456", "Authorization: Bearer ***"),
        ("redis://:hunter2@h/0", "redis://:***@h/0"),
        ("postgres://u:p@ss@w0rd@host/db", "postgres://u:***@host/db"),
        ("host=db password='a b c' user=x", "host=db password=*** user=x"),
        ("GET /x?token=abc123&page=2", "GET /x?token=***&page=2"),
        ("Server=db;Pwd=abc;Timeout=3", "Server=db;Pwd=***;Timeout=3"),
        ('{"password": "abc def", "user": "x"}', '{"password": "***", "user": "x"}'),
        ('"{\\"client_secret\\": \\"abc\\"}"', '"{\\"client_secret\\": \\"***\\"}"'),
        ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/services/***"),
    ],
)
def test_credentials_in_addresses_and_texts_are_masked(given, expected):
    """What stands around them stays, so that the line still says something."""
    assert Masker().text(given) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer {{ secrets.token }}",
        "https://a.example/x?token={{ secrets.t }}&b=1",
        "password=__secret:db__",
        "Authorization: Bearer __secret:cloud_token__",
        "registry.example.com:5000/a@sha256:0123456789abcdef",
        "http://host:80/path@x",
        "the token of the service account is missing",
        "basic checks passed",
        "key=$KEY",
        '{"imagePullSecrets": [{"name": "regcred"}]}',
    ],
)
def test_references_and_ordinary_texts_stay(text):
    """A plan that is masked where nothing is secret cannot be carried out."""
    assert Masker().text(text) == text


def test_bytes_that_are_no_text_are_searched_too():
    """What was read leniently must not stop a line from being written."""
    broken = b"\xff hunter2-known \xfe".decode("utf-8", "surrogateescape")
    assert (
        knowing("hunter2-known", "\udcff-odd-value").text(broken).encode("utf-8", "surrogateescape") == b"\xff *** \xfe"
    )


def test_only_the_newest_values_are_remembered(monkeypatch):
    """A process that renews its tokens for years must not grow."""
    monkeypatch.setattr("services.masking._MOST_VALUES", 3)
    masker = knowing(*(f"value-number-{number}" for number in range(5)))
    assert masker.text("value-number-4 value-number-2") == f"{MASK} {MASK}"
    assert len(masker._known) == 3
