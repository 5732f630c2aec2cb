"""What Slack refuses in blocks and dialogs: the documented limits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

MESSAGE_BLOCKS, MODAL_BLOCKS = 50, 100
WHOLE_MESSAGE = 10_000
"""Slack refuses blocks that are too long together, and does not say from where on: between 11,000 and 13,000
characters. This is on the safe side."""
_TITLE = 24
_TEXTS = {"header": 150, "section": 3_000}


def length(text: str) -> int:
    """As Slack counts: characters outside the basic plane are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def problems_of_message(blocks: object) -> list[str]:
    """What is wrong with the blocks of a message."""
    if not isinstance(blocks, list):
        return ["blocks must be a list [json-pointer:/blocks]"]
    found = [f"no more than {MESSAGE_BLOCKS} items allowed"] if len(blocks) > MESSAGE_BLOCKS else []
    found += [problem for at, block in enumerate(blocks) for problem in _block(block, f"/blocks/{at}")]
    return found + _twice([block.get("block_id") for block in blocks if isinstance(block, Mapping)], "block_id")


def too_long(blocks: object) -> bool:
    """Whether the blocks are too long together."""
    return sum(length(text) for text in texts_in(blocks)) > WHOLE_MESSAGE


def texts_in(value: object) -> Iterator[str]:
    """Every text that people read."""
    if isinstance(value, Mapping):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for part in value.values():
            yield from texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)


def problems_of_view(view: object) -> list[str]:
    """What is wrong with a modal."""
    if not isinstance(view, Mapping) or view.get("type") != "modal":
        return ["view must be a modal [json-pointer:/view/type]"]
    blocks = view.get("blocks")
    if not isinstance(blocks, list):
        return ["missing required field: blocks [json-pointer:/view/blocks]"]
    found = [f"no more than {MODAL_BLOCKS} items allowed"] if len(blocks) > MODAL_BLOCKS else []
    for part in ("title", "submit", "close"):
        if part in view or part == "title":
            found += _text(view.get(part), _TITLE, f"/view/{part}", plain=True)
    inputs = any(isinstance(block, Mapping) and block.get("type") == "input" for block in blocks)
    if inputs and "submit" not in view:
        found.append("submit is required when an input block is within the blocks array [json-pointer:/view/submit]")
    found += _most(view.get("private_metadata", ""), 3_000, "/view/private_metadata")
    found += _most(view.get("callback_id", ""), 255, "/view/callback_id")
    return found + [problem for at, block in enumerate(blocks) for problem in _block(block, f"/view/blocks/{at}")]


def _block(block: object, where: str) -> Iterator[str]:
    if not isinstance(block, Mapping):
        yield f"must be an object [json-pointer:{where}]"
        return
    kind = block.get("type")
    yield from _most(block.get("block_id", ""), 255, f"{where}/block_id")
    if kind == "section":
        yield from _section(block, where)
    elif kind == "header":
        yield from _text(block.get("text"), _TEXTS["header"], f"{where}/text", plain=True)
    elif kind == "context":
        yield from _items(block.get("elements"), 10, f"{where}/elements")
        for at, element in enumerate(block.get("elements") or ()):
            yield from _text(element, 2_000, f"{where}/elements/{at}")
    elif kind == "actions":
        yield from _actions(block, where)
    elif kind == "input":
        yield from _input(block, where)
    elif kind != "divider":
        yield f"unsupported type: {kind} [json-pointer:{where}/type]"


def _section(block: Json, where: str) -> Iterator[str]:
    if "text" not in block and "fields" not in block:
        yield f"must have text or fields [json-pointer:{where}]"
    if "text" in block:
        yield from _text(block["text"], _TEXTS["section"], f"{where}/text")
    if "fields" in block:
        yield from _items(block["fields"], 10, f"{where}/fields")
        for at, field in enumerate(block["fields"]):
            yield from _text(field, 2_000, f"{where}/fields/{at}")


def _actions(block: Json, where: str) -> Iterator[str]:
    elements = block.get("elements")
    yield from _items(elements, 25, f"{where}/elements")
    for at, element in enumerate(elements or ()):
        yield from _button(element, f"{where}/elements/{at}")
    yield from _twice([element.get("action_id") for element in elements or ()], "action_id")


def _button(element: Json, where: str) -> Iterator[str]:
    if element.get("type") != "button":
        yield f"unsupported type: {element.get('type')} [json-pointer:{where}/type]"
    yield from _text(element.get("text"), 75, f"{where}/text", plain=True)
    yield from _most(element.get("action_id", ""), 255, f"{where}/action_id")
    yield from _most(element.get("value", ""), 2_000, f"{where}/value")
    if element.get("style", "primary") not in ("primary", "danger"):
        yield f"style must be primary or danger [json-pointer:{where}/style]"
    sure = element.get("confirm")
    if sure is not None:
        for part, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            yield from _text(sure.get(part), most, f"{where}/confirm/{part}", plain=part != "text")


def _input(block: Json, where: str) -> Iterator[str]:
    yield from _text(block.get("label"), 2_000, f"{where}/label", plain=True)
    element = block.get("element") or {}
    kind = element.get("type")
    if kind == "plain_text_input":
        if not 0 < element.get("max_length", 3_000) <= 3_000:  # noqa: PLR2004 - documented
            yield f"must be between 1 and 3000 [json-pointer:{where}/element/max_length]"
    elif kind == "static_select":
        yield from _items(element.get("options"), 100, f"{where}/element/options")
        for at, option in enumerate(element.get("options") or ()):
            place = f"{where}/element/options/{at}"
            yield from _text(option.get("text"), 75, f"{place}/text", plain=True)
            yield from _most(option.get("value", ""), 150, f"{place}/value", least=1)
    else:
        yield f"unsupported type: {kind} [json-pointer:{where}/element/type]"


def _text(value: object, most: int, where: str, *, plain: bool = False) -> Iterator[str]:
    """A text object: of the right type, not empty, not too long."""
    if not isinstance(value, Mapping):
        yield f"missing required field [json-pointer:{where}]"
        return
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if value.get("type") not in kinds:
        yield f"must be {' or '.join(kinds)} [json-pointer:{where}/type]"
    if "verbatim" in value and value.get("type") != "mrkdwn":
        yield f"additional property: verbatim [json-pointer:{where}]"
    if "emoji" in value and value.get("type") != "plain_text":
        yield f"additional property: emoji [json-pointer:{where}]"
    yield from _most(value.get("text"), most, f"{where}/text", least=1)


def _most(value: object, most: int, where: str, *, least: int = 0) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"must be a string [json-pointer:{where}]"
    elif length(value) > most:
        yield f"must be less than {most + 1} characters [json-pointer:{where}]"
    elif length(value) < least:
        yield f"must be more than {least - 1} characters [json-pointer:{where}]"


def _items(value: object, most: int, where: str) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"must have at least one item [json-pointer:{where}]"
    elif len(value) > most:
        yield f"no more than {most} items allowed [json-pointer:{where}]"


def _twice(values: Sequence[object], what: str) -> list[str]:
    given = [value for value in values if value]
    return [f"`{what}` must be unique"] if len(set(given)) < len(given) else []
