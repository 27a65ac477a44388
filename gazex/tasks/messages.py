"""Examples as Qwen2-VL's chat messages, and back from the text its chat template writes.

A user turn holds the media and the prompt, an assistant turn the target. Media stand where the prompt says `<image>` or
`<video>` (as the published prompts do), else in front of it in the example's order.
"""

from __future__ import annotations

import re
from typing import Any, Final

from gazex.tasks.example import MEDIA, Example
from gazex.tasks.formats import ParseError

_MARK: Final = re.compile(r"<(image|video)>")
_TURN: Final = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n?", re.DOTALL)
_PAD: Final = re.compile(r"<\|vision_start\|>(?:<\|(image|video)_pad\|>)+<\|vision_end\|>")
Message = dict[str, Any]


def messages_of(example: Example, *, answer: bool = True) -> list[Message]:
    """The turns of an example; without `answer`, the question alone.

    Raises
    ------
    ValueError
        The prompt places other media than the example has.
    """
    content: list[dict[str, str]] = []
    placed = _MARK.findall(example.prompt)
    if not placed:
        content += [{"type": kind} for kind in example.media]
    elif sorted(placed) != sorted(example.media):
        raise ValueError(
            f"The prompt of visit “{example.visit}” places {', '.join(placed)}; the example has "
            f"{', '.join(example.media)}."
        )
    at = 0
    for mark in _MARK.finditer(example.prompt):
        if mark.start() > at:
            content.append({"type": "text", "text": example.prompt[at : mark.start()]})
        content.append({"type": mark[1]})
        at = mark.end()
    if at < len(example.prompt):
        content.append({"type": "text", "text": example.prompt[at:]})
    out: list[Message] = [{"role": "user", "content": content}]
    if answer:
        out.append({"role": "assistant", "content": [{"type": "text", "text": example.target}]})
    return out


def messages_from(text: str) -> list[Message]:
    """Turns from a chat as Qwen2-VL's template writes it, padding tokens once or once for each visual token.

    Raises
    ------
    ParseError
        The text is not a chat.
    """
    out: list[Message] = []
    at = 0
    while at < len(text):
        turn = _TURN.match(text, at)
        if turn is None:
            raise ParseError(f"The chat is malformed after turn {len(out)}.")
        out.append({"role": turn[1], "content": _content(turn[2])})
        at = turn.end()
    if not out:
        raise ParseError("The chat has no turns.")
    return out


def _content(body: str) -> list[dict[str, str]]:
    content: list[dict[str, str]] = []
    at = 0
    for pad in _PAD.finditer(body):
        if pad.start() > at:
            content.append({"type": "text", "text": body[at : pad.start()]})
        content.append({"type": pad[1]})
        at = pad.end()
    if at < len(body):
        content.append({"type": "text", "text": body[at:]})
    if any("<|vision" in part.get("text", "") for part in content):
        raise ParseError("The chat has a picture that neither begins nor ends.")
    return content


def media_of(messages: list[Message]) -> tuple[str, ...]:
    """The media of a chat's turns, in order."""
    return tuple(p["type"] for m in messages for p in m["content"] if p["type"] in MEDIA)
