"""Taking secrets out of whatever leaves the process: by value, by how tokens look, by the name of their key.

A value is registered when it is read, and with it the forms in which others write it: base64 at every place of a
longer text, URL-encoded, escaped for JSON and HTML, hexadecimal. All forms of all secrets are looked for in one pass
over a text (Aho-Corasick), so that the cost does not grow with their number. Patterns cost nothing where their first
letters do not occur.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

import orjson
from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

MASK = "***"

_SECRET_KEY = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|api[_.-]?key|private[_.-]?key|credential|authorization|cookie|dsn)s?$"
)
_LEAST = 4
"""A shorter value is no secret, and would mask ordinary words."""
_WHOLE_WORDS = 8
"""A shorter value is masked as a whole word only; so is a number, which would otherwise be found in ids."""
_LEAST_ENCODED = 6
_MOST_VALUES = 2_000
"""Most values that are known at a time, the newest: tokens are renewed for as long as a process runs."""
_LITERALS = frozenset({"true", "false", "null", "none", "undefined", "default"})
_DIGITS = re.compile(r"[0-9a-fA-F-]{1,15}|[0-9.]+")
_MOST_LINES = 200

_PLAIN_VALUE = r"(?!\*\*\*|__secret|__b64|\{\{|\$)"
"""References and templates say where a secret is, not what it is."""


def _rest(pattern: str, replacement: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(replacement, text)


_BLOCK = _rest(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", MASK)
_ASSIGNED = _rest(
    r"(?i)((?:pass(?:word|wd|phrase)?|pwd|secret(?:_?(?:access_?)?key)?|token|api_?key|signature|sig)=)"
    rf"{_PLAIN_VALUE}(?:'[^']+'|\"[^\"]+\"|[^\s&;,'\"\\)}}\]]+)",
    rf"\1{MASK}",
)
_QUOTED = _rest(
    r"(?i)((?:pass(?:word|wd|phrase)?|client_?secret|secret_?(?:access_?)?key|access_?token|refresh_?token|api_?key"
    rf"|private_?key)\\*[\"']\s*:\s*\\*[\"']){_PLAIN_VALUE}[^\"'\\]+",
    rf"\1{MASK}",
)
_PATTERNS: Mapping[str, Callable[[str], str]] = {
    "akia": _rest(r"\bAKIA[A-Z0-9]{16}\b", MASK),
    "asia": _rest(r"\bASIA[A-Z0-9]{16}\b", MASK),
    "ghp_": _rest(r"\bghp_[A-Za-z0-9]{30,}", MASK),
    "gho_": _rest(r"\bgho_[A-Za-z0-9]{30,}", MASK),
    "ghu_": _rest(r"\bghu_[A-Za-z0-9]{30,}", MASK),
    "ghs_": _rest(r"\bghs_[A-Za-z0-9]{30,}", MASK),
    "ghr_": _rest(r"\bghr_[A-Za-z0-9]{30,}", MASK),
    "github_pat_": _rest(r"\bgithub_pat_[A-Za-z0-9_]{22,}", MASK),
    "glpat-": _rest(r"\bglpat-[A-Za-z0-9_-]{20,}", MASK),
    "xox": _rest(r"\bxox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}", MASK),
    "xapp-": _rest(r"\bxapp-[A-Za-z0-9-]{10,}", MASK),
    "hooks.slack.com/": _rest(r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[A-Za-z0-9/_-]+", rf"\1{MASK}"),
    "hvs.": _rest(r"\bhvs\.[A-Za-z0-9_-]{20,}", MASK),
    "eyj": _rest(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?", MASK),
    "private key-----": _BLOCK,
    "bearer ": _rest(rf"(?i)\b(bearer)\s+{_PLAIN_VALUE}[A-Za-z0-9._~+/=-]{{8,}}", rf"\1 {MASK}"),
    "basic ": _rest(rf"(?i)\b(basic)\s+{_PLAIN_VALUE}[A-Za-z0-9._~+/=-]{{8,}}", rf"\1 {MASK}"),
    "://": _rest(r"(://[^/\s:@\"'\\]*):(?!\*\*\*@|__secret|\{\{)[^/\s\"'\\]+@", rf"\1:{MASK}@"),
    **dict.fromkeys(
        ("password=", "passwd=", "passphrase=", "pass=", "pwd=", "secret=", "token=", "key=", "signature=", "sig="),
        _ASSIGNED,
    ),
    **dict.fromkeys(
        (
            *('password"', "password'", "password\\", 'passwd"', "passwd'", 'passphrase"'),
            *("api_key", "apikey", "private_key", "privatekey", "secret_key", "secretkey", "access_key", "accesskey"),
            *("client_secret", "clientsecret", "access_token", "accesstoken", "refresh_token", "refreshtoken"),
        ),
        _QUOTED,
    ),
}
"""What well-known secrets look like, by letters (lower case) without which they cannot occur."""

_ANCHORS = tuple(_PATTERNS)
_IN_PROSE = frozenset({"bearer ", "basic "})
_CREDENTIAL = re.compile(
    rf"(?i:\b(?:bearer|basic))\s+{_PLAIN_VALUE}(?=[A-Za-z0-9._~+/=-]*(?:[0-9+/=]|[a-z][A-Z]))[A-Za-z0-9._~+/=-]{{8,}}"
)
"""Words of prose follow these as well; masking them does no harm, refusing what holds them would."""


def is_secret_name(name: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    return _SECRET_KEY.search(name) is not None


class Masker:
    """Takes secrets out of values.

    Known values are registered when they are read (``services.secrets``), so that a secret that a server repeats in an
    error message is masked too. Registering is rare and may take a millisecond; masking is frequent and must not.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[str, bool], ...]] = {}
        self._values: tuple[AhoCorasick, tuple[bool, ...]] | None = None
        self._anchors = AhoCorasick(_ANCHORS, matchkind=MatchKind.Standard)

    def register(self, value: str) -> None:
        """Never show this value again, in whatever form."""
        if value in self._known:
            return
        parts = [part for part in parts_of(value) if len(part) >= _LEAST and part.lower() not in _LITERALS]
        self._known[value] = tuple(form for part in parts for form in forms_of(part) if _searchable(form[0]) == form[0])
        if len(self._known) > _MOST_VALUES:
            del self._known[next(iter(self._known))]
        self._values = None

    def text(self, text: str) -> str:
        """The text without secrets."""
        text = self._without_values(text)
        matches = self._anchors.find_matches_as_indexes(_searchable(text.lower()), overlapping=True)
        for mask in dict.fromkeys(_PATTERNS[_ANCHORS[index]] for index in sorted({match[0] for match in matches})):
            text = mask(text)
        return text

    def holds_known(self, text: str) -> bool:
        """Whether a text holds a value that was registered, in whatever form; how things look does not count."""
        return self._without_values(text) != text

    def holds_secret(self, text: str) -> bool:
        """Whether a text holds a registered value or what looks like a secret; prose such as "basic checks" is none."""
        if self.holds_known(text):
            return True
        matches = self._anchors.find_matches_as_indexes(_searchable(text.lower()), overlapping=True)
        for anchor in {_ANCHORS[match[0]] for match in matches}:
            if anchor in _IN_PROSE:
                if _CREDENTIAL.search(text):
                    return True
            elif _PATTERNS[anchor](text) != text:
                return True
        return False

    def _without_values(self, text: str) -> str:
        if not self._known:
            return text
        automaton, whole = self._values or self._prepared()
        matches = automaton.find_matches_as_indexes(_searchable(text), overlapping=True)
        if not matches:
            return text
        spans = sorted(
            (start, end) for index, start, end in matches if not whole[index] or _stands_alone(text, start, end)
        )
        return _cut(text, spans)

    def _prepared(self) -> tuple[AhoCorasick, tuple[bool, ...]]:
        forms = dict(form for known in self._known.values() for form in known)
        automaton = AhoCorasick(tuple(forms), matchkind=MatchKind.Standard, implementation=Implementation.ContiguousNFA)
        self._values = automaton, tuple(forms.values())
        return self._values

    def json(self, text: str) -> str:
        """JSON without secrets in its texts: it stays JSON, whatever the secrets are, and numbers stay numbers."""
        if self.text(text) == text:
            return text
        return orjson.dumps(self.data(orjson.loads(text))).decode()

    def value(self, value: Any) -> Any:
        """A value of any shape without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {k: self.named(k, v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        if isinstance(value, bool | int | float) or value is None:
            return value
        return self.text(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))

    def data(self, value: Any, exact: frozenset[str] = frozenset()) -> Any:
        """Data without secrets in its texts; names of keys say nothing here, and what is no text stays as it is.

        Args:
            value: mappings, lists, texts and whatever else.
            exact: names of keys whose values stay: credentials that the receiver asks for.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: item if key in exact else self.data(item, exact) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item, exact) for item in value]
        return value

    def named(self, name: object, value: Any) -> Any:
        """A value under a name that may itself say "secret"."""
        if isinstance(name, str) and is_secret_name(name) and value not in (None, "", False, True):
            return MASK
        return self.value(value)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor, last before rendering."""
        for name in event:
            if name not in {"level", "timestamp", "_record", "_from_structlog"}:
                event[name] = self.named(name, event[name])
        return event


def _searchable(text: str) -> str:
    """The text as UTF-8 can hold it, of the same length: bytes that were none stand in it as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() or before == "_" or after.isalnum() or after == "_")


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with the spans masked; those that overlap are one."""
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        if start >= done:
            pieces += (text[done:start], MASK)
        done = max(done, end)
    return "".join((*pieces, text[done:]))


def parts_of(value: str) -> Iterator[str]:
    """The value, and what in it is a secret by itself: lines, passwords of addresses, secret fields of JSON."""
    yield value
    if value != value.strip():
        yield value.strip()
    lines = value.splitlines()
    if 1 < len(lines) <= _MOST_LINES:
        yield from (line.strip() for line in lines if len(line.strip()) >= 2 * _WHOLE_WORDS)
    if "://" in value and len(lines) == 1:
        yield from _password_of(value)
    if value.lstrip()[:1] in ("{", "["):
        try:
            yield from _secret_leaves(json.loads(value))
        except (ValueError, RecursionError):
            return


def _password_of(address: str) -> Iterator[str]:
    try:
        password = urlsplit(address).password
    except ValueError:
        return
    if password:
        yield from {password, unquote(password)}


def _secret_leaves(data: Any, name: str = "") -> Iterator[str]:
    if isinstance(data, Mapping):
        for key, item in data.items():
            yield from _secret_leaves(item, str(key))
    elif isinstance(data, list):
        for item in data:
            yield from _secret_leaves(item, name)
    elif isinstance(data, str) and (is_secret_name(name) or name == "auth"):
        yield data


def forms_of(value: str) -> Iterator[tuple[str, bool]]:
    """The ways in which a value is written, each with whether it must stand alone to count."""
    alone = len(value) < _WHOLE_WORDS or _DIGITS.fullmatch(value) is not None
    plain = {value, *_escaped(value)}
    yield from ((form, alone) for form in plain)
    raw = value.encode("utf-8", "surrogatepass")
    if len(raw) < _LEAST_ENCODED:
        return
    yield from ((form, False) for form in (raw.hex(), raw.hex().upper()))
    for form in _base64(raw):
        yield form, False
        # A Secret of Kubernetes holds base64 of what may itself be base64, such as credentials of a registry.
        yield from ((twice, False) for twice in _base64(form.encode()))


def _escaped(value: str) -> Iterator[str]:
    for form in (
        quote(value, safe="", errors="replace"),
        quote(value, errors="replace"),
        quote_plus(value, errors="replace"),
    ):
        yield form
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), form)
    yield html.escape(value)
    yield repr(value)[1:-1]
    for ascii_only in (True, False):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]  # JSON inside of JSON


def _base64(raw: bytes) -> Iterator[str]:
    """Base64 of the whole, and what stays the same of it wherever it stands in a longer text; both alphabets."""
    whole = base64.b64encode(raw).decode()
    found = {whole, whole.rstrip("=")}
    for shift, lost in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        ragged = (shift + len(raw)) % 3 != 0
        found.add(encoded[lost : -1 if ragged else None])
    for form in found:
        if len(form) >= _LEAST_ENCODED:
            yield form
            yield form.replace("+", "-").replace("/", "_")


masker = Masker()
"""The one of this process: a secret that is read anywhere is masked everywhere."""
