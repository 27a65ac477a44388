"""Grammar-constrained decoding: which tokens may come next, so that a finished answer always parses.

A grammar is data (`Lit`, `Seq`, `Alt`, `Many`, `Text`, `Number`, `Order`, `Steps`); `grammar_of` gives each task's. A
`ConstrainedDecoder` runs it over a tokenizer's vocabulary: states are small integers, `allowed_tokens(state)` are the
tokens that keep the answer on its way, `advance(state, token)` the state after one. Both are worked out once a state
and kept. What regular expressions cannot say is part of the state: a box's second corner is never above or left of the
first, an order names each frame once, steps are counted. So an answer that ends is one that the strict parsers of
`gazex.tasks.formats` read; one that does not end within its length is cut off, and invalid.

Special tokens (`<|box_start|>` …) are single symbols, never spelled from letters. Free text is printable ASCII, Latin
and Greek without `<`, `>` and `|`, without spaces at either end or two in a row.

No torch, except inside `ConstrainedLogits`, `GazePrior` and `BoxPrior`, which change a model's scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gazex.findings import FINDINGS
from gazex.tasks.formats import MAX_MS, TOP, VQA_ANSWERS

SPECIAL: Final = (
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
)
"""Special tokens that stand in answers; each is one symbol, numbered from 256."""
MOST_CLUES: Final = 16
"""Points of one sentence that a model may write: a parser reads any number, but a decoder must come to an end."""
MOST_STEPS: Final = 99
MOST_BOXES: Final = 16
LEAST_GAZE: Final = 1e-3
"""A place that a map of the gaze holds for this unlikely, or for less, is still not impossible."""
EDGE: Final = 0.033
"""How far, as a share of the image, an edge of the heat lies from that of the reader's own box: .031 to .034 for the
four edges, on average over 106 boxes of the validation series (small model; `HeldOut.heat_edges`)."""


class DecodingError(ValueError):
    """A grammar or vocabulary that cannot work, or a token that the grammar does not allow."""


# ── grammars as data ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Lit:
    """These characters and special tokens."""

    text: str


@dataclass(frozen=True)
class Seq:
    """One after the other."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Alt:
    """One of them."""

    options: tuple[Any, ...]


@dataclass(frozen=True)
class Many:
    """`part`, from no time up to `most` times; without a limit where that is None."""

    part: Any
    most: int | None = None


@dataclass(frozen=True)
class Text:
    """Free text of at least one character; where `ends` is given, its last character is one of these."""

    ends: str = ""


@dataclass(frozen=True)
class Number:
    """A whole number without leading zeros, from `low` to `high`; `save` keeps it under a name, and `at_least` takes
    such a name for the lower bound and forgets it: what follows does not depend on it."""

    high: int
    low: int = 0
    save: str = ""
    at_least: str = ""


@dataclass(frozen=True)
class Order:
    """The numbers 1 to `count`, each once, with commas between."""

    count: int
    used: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Steps:
    """`<step n=1>…</step><step n=2>…`, counted; `inside` is what stands in each."""

    inside: Any
    number: int = 1


Grammar = Lit | Seq | Alt | Many | Text | Number | Order | Steps


def _box(top: tuple[int, int]) -> Seq:
    u, v = top
    return Seq(
        (
            Lit("<|box_start|>("), Number(u, save="u"), Lit(","), Number(v, save="v"), Lit("),("),
            Number(u, at_least="u"), Lit(","), Number(v, at_least="v"), Lit(")<|box_end|>"),
        )
    )  # fmt: skip


def _ref(names: Iterable[str]) -> Seq:
    return Seq((Lit("<|object_ref_start|>"), Alt(tuple(Lit(n) for n in names)), Lit("<|object_ref_end|>")))


def _clues(top: tuple[int, int]) -> Many:
    u, v = top
    return Many(Seq((Lit("("), Number(u), Lit(","), Number(v), Lit(","), Number(MAX_MS), Lit(")"))), MOST_CLUES)


@cache
def grammar_of(task: str, *, frames: int = 0, top: tuple[int, int] = (TOP, TOP)) -> Grammar:
    """The grammar of a task's answers.

    Parameters
    ----------
    task
        "report", "vqa", "fvp", "gtm", "sda" or "grounding" (see `gazex.tasks`).
    frames
        Number of key frames shown, for "sda".
    top
        Largest coordinates along x and y: (1000, 1000), or what a codec's `top` says.
    """
    if task == "report":
        line = Seq((Text(".?!"), Alt((Lit(""), Seq((_ref(FINDINGS), _box(top)))))))
        return Seq((line, Many(Seq((Lit("\n"), line)))))
    if task == "vqa":
        return Alt(tuple(Lit(a) for a in VQA_ANSWERS))
    if task == "fvp":
        names = (*FINDINGS, "No Finding")
        return Seq((_ref(names), _box(top), Lit("<clues>"), _clues(top), Lit("</clues>")))
    if task == "gtm":
        return Steps(Seq((Lit("<gaze>"), _clues(top), Lit("</gaze>"), Text())))
    if task == "sda":
        if frames < 2:
            raise DecodingError(f"An order of {frames} frames is no question; show two or more.")
        return Seq((Lit("<seq>"), Order(frames), Lit("</seq>")))
    if task == "grounding":
        return Seq((_ref(FINDINGS), _box(top), Many(_box(top), MOST_BOXES - 1)))
    raise DecodingError(f"There is no grammar for the task “{task}”; tasks are report, vqa, fvp, gtm, sda, grounding.")


# ── the machine ───────────────────────────────────────────────────────────────────────────────────────────────────────

_SPECIAL_AT: Final = {name: 256 + k for k, name in enumerate(SPECIAL)}
_ASCII: Final = frozenset(range(0x21, 0x7F)) - frozenset(b"<>|")
# First bytes of two-byte characters from U+00C0 to U+03FF, and of U+00B0–U+00BE (°, µ …): no space among them.
_LEAD: Final = frozenset(range(0xC3, 0xD0))


@dataclass(frozen=True)
class _Bytes:
    """Symbols that must come, one after the other."""

    symbols: tuple[int, ...]


@dataclass(frozen=True)
class _Digits:
    """A number of which these digits are written."""

    written: str
    low: int
    high: int
    save: str


@dataclass(frozen=True)
class _Inside:
    """Within a text: what the last symbol was ("start", "letter", "space", "c2", "lead", "end")."""

    ends: str
    last: str


_Names = tuple[tuple[str, int], ...]
_Config = tuple[tuple[Any, ...], _Names]
"""What is still to come, next first, and the numbers kept by name."""


def symbols_of(text: str) -> tuple[int, ...]:
    """Bytes of a text, with special tokens as single symbols."""
    out: list[int] = []
    at = 0
    while at < len(text):
        special = next((name for name in SPECIAL if text.startswith(name, at)), None)
        if special is not None:
            out.append(_SPECIAL_AT[special])
            at += len(special)
        else:
            out += text[at].encode()
            at += 1
    return tuple(out)


def _reachable(written: str, low: int, high: int) -> bool:
    """Whether more digits (or none) make a number from low to high of those written."""
    if written == "":
        return low <= high
    first = last = int(written)
    if first == 0:
        return low <= 0 <= high
    while first <= high:
        if last >= low:
            return True
        first, last = first * 10, last * 10 + 9
    return False


def _expand(config: _Config, out: set[_Config]) -> None:
    """Opens what stands first until it waits for a symbol (or nothing is left)."""
    stack, names = config
    if not stack:
        out.add(config)
        return
    first, rest = stack[0], stack[1:]
    if isinstance(first, Lit):
        symbols = symbols_of(first.text)
        _expand((((_Bytes(symbols), *rest) if symbols else rest), names), out)
    elif isinstance(first, Seq):
        _expand(((*first.parts, *rest), names), out)
    elif isinstance(first, Alt):
        for option in first.options:
            _expand(((option, *rest), names), out)
    elif isinstance(first, Many):
        _expand((rest, names), out)
        if first.most is None:
            _expand(((first.part, first, *rest), names), out)
        elif first.most > 0:
            _expand(((first.part, Many(first.part, first.most - 1), *rest), names), out)
    elif isinstance(first, Text):
        out.add(((_Inside(first.ends, "start"), *rest), names))
    elif isinstance(first, Number):
        kept = dict(names)
        low = max(first.low, kept.pop(first.at_least)) if first.at_least else first.low
        out.add(((_Digits("", low, first.high, first.save), *rest), tuple(sorted(kept.items()))))
    elif isinstance(first, Order):
        for n in range(1, first.count + 1):
            if n not in first.used:
                used = first.used | {n}
                more = (Lit(","), Order(first.count, used)) if len(used) < first.count else ()
                _expand(((Lit(str(n)), *more, *rest), names), out)
    elif isinstance(first, Steps):
        one = (Lit(f"<step n={first.number}>"), first.inside, Lit("</step>"))
        _expand(((*one, *rest), names), out)
        if first.number < MOST_STEPS:
            _expand(((*one, Steps(first.inside, first.number + 1), *rest), names), out)
    elif isinstance(first, _Digits):
        out.add(config)
        if first.written and first.low <= int(first.written) <= first.high:
            kept = dict(names)
            if first.save:
                kept[first.save] = int(first.written)
            _expand((rest, tuple(sorted(kept.items()))), out)
    elif isinstance(first, _Inside):
        out.add(config)
        if first.last == "end" or (first.last == "letter" and not first.ends):
            _expand((rest, names), out)
    else:
        out.add(config)


def _step(config: _Config, symbol: int) -> _Config | None:
    """What is left of one possibility after a symbol; None where it is over."""
    stack, names = config
    if not stack:
        return None
    first, rest = stack[0], stack[1:]
    if isinstance(first, _Bytes):
        if first.symbols[0] != symbol:
            return None
        left = first.symbols[1:]
        return ((_Bytes(left), *rest) if left else rest), names
    if isinstance(first, _Digits):
        if not 0x30 <= symbol <= 0x39 or first.written == "0":
            return None
        written = first.written + chr(symbol)
        if not _reachable(written, first.low, first.high):
            return None
        return (_Digits(written, first.low, first.high, first.save), *rest), names
    last = _next_in_text(first, symbol)
    return None if last is None else ((_Inside(first.ends, last), *rest), names)


def _next_in_text(inside: _Inside, symbol: int) -> str | None:
    if inside.last == "c2":
        return "letter" if 0xB0 <= symbol <= 0xBE else None
    if inside.last == "lead":
        return "letter" if 0x80 <= symbol <= 0xBF else None
    if symbol == 0x20:
        return None if inside.last in ("start", "space") else "space"
    if symbol == 0xC2:
        return "c2"
    if symbol in _LEAD:
        return "lead"
    if symbol in _ASCII:
        return "end" if chr(symbol) in inside.ends else "letter"
    return None


# ── vocabularies ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Coordinates(NamedTuple):
    """Token → number, for tokens like "(480,", "320," and "320)"."""

    first: dict[int, int]
    second: dict[int, int]
    corner: dict[int, int]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A tokenizer's tokens as symbols.

    Attributes
    ----------
    pieces
        Symbols of each token id (bytes, and special tokens numbered from 256); empty for tokens that never stand in an
        answer.
    end
        Id of the token that ends an answer.
    """

    pieces: tuple[tuple[int, ...], ...]
    end: int

    def __post_init__(self) -> None:
        alone = {piece[0] for piece in self.pieces if len(piece) == 1}
        # A printable byte that is no token by itself could leave an answer with no way on.
        missing = [chr(b) for b in range(0x20, 0x7F) if b not in alone] + (["\\n"] if 0x0A not in alone else [])
        if missing:
            raise DecodingError(f"The tokenizer has no token for {' '.join(missing[:5])} alone; use a byte-level one.")

    @cached_property
    def coordinates(self) -> Coordinates:
        """Tokens that are a point's first number, its second, and a corner's second, with the number."""
        found = Coordinates({}, {}, {})
        kinds = {(b"(", b","): found.first, (b"", b","): found.second, (b"", b")"): found.corner}
        for token, piece in enumerate(self.pieces):
            text = bytes(piece) if max(piece, default=256) < 256 else b""
            match = re.fullmatch(rb"(\(?)([0-9]+)([,)])", text)
            if match and (match[1], match[3]) in kinds:
                kinds[match[1], match[3]][token] = int(match[2])
        return found

    def text(self, tokens: Iterable[int]) -> str:
        """What tokens write, without the special ones."""
        symbols = (symbol for token in tokens for symbol in self.pieces[token])
        return bytes(symbol for symbol in symbols if symbol < 256).decode(errors="replace")

    @classmethod
    def of(cls, tokenizer: Any, *, size: int | None = None) -> Vocabulary:
        """Of a Hugging Face tokenizer.

        Parameters
        ----------
        tokenizer
            With byte-level pieces (such as Qwen2's) or pieces that decode to their own text.
        size
            Number of scores a model gives, where that is more than the tokenizer has tokens.
        """
        ids = tokenizer.get_vocab()
        special = {str(t) for t in tokenizer.all_special_tokens}
        added = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items()}
        special |= {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special}
        missing = [name for name in SPECIAL if name not in ids]
        if missing:
            raise DecodingError(f"The tokenizer has no token {missing[0]}; use one of Qwen2-VL's.")
        byte_level = all(chr(c) in ids for c in (0x21, 0x120))  # "!" and the byte-level letter of the space
        pieces: list[tuple[int, ...]] = [()] * max(size or 0, max(ids.values()) + 1)
        for text, i in ids.items():
            if text in _SPECIAL_AT:
                pieces[i] = (_SPECIAL_AT[text],)
            elif text in special:
                continue
            elif i in added:
                pieces[i] = tuple(text.encode())
            elif byte_level:
                pieces[i] = tuple(_BYTE_OF[c] for c in text)
            else:
                pieces[i] = tuple(str(tokenizer.decode([i])).encode())
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        if end is None or end == tokenizer.unk_token_id:
            raise DecodingError("The tokenizer has no token <|im_end|>; use one of Qwen2-VL's.")
        return cls(tuple(pieces), int(end))

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def trie(self) -> _Trie:
        """The tokens by their symbols, for all decoders of this vocabulary."""
        return _trie(self.pieces)


def _byte_letters() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes with (Radford et al., GPT-2, 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    out = {chr(b): b for b in printable}
    others = [b for b in range(256) if b not in printable]
    return out | {chr(256 + k): b for k, b in enumerate(others)}


_BYTE_OF: Final = _byte_letters()


class _Trie:
    """Tokens by their symbols."""

    __slots__ = ("children", "tokens")

    def __init__(self) -> None:
        self.children: dict[int, _Trie] = {}
        self.tokens: list[int] = []


def _trie(pieces: Sequence[Sequence[int]]) -> _Trie:
    root = _Trie()
    for token, piece in enumerate(pieces):
        if not piece:
            continue
        node = root
        for symbol in piece:
            node = node.children.setdefault(symbol, _Trie())
        node.tokens.append(token)
    return root


# ── the decoder ───────────────────────────────────────────────────────────────────────────────────────────────────────


class ConstrainedDecoder:
    """A grammar over a vocabulary.

    Parameters
    ----------
    grammar
        See `grammar_of`.
    vocabulary
        See `Vocabulary.of`.

    Attributes
    ----------
    start
        The state of an empty answer.
    ended
        The state after the end token; it allows nothing.

    Examples
    --------
    >>> pieces = [(b,) for b in range(256)] + [(256 + k,) for k in range(len(SPECIAL))] + [()]
    >>> decoder = ConstrainedDecoder(grammar_of("vqa"), Vocabulary(tuple(pieces), end=len(pieces) - 1))
    >>> [chr(t) for t in decoder.allowed_tokens(decoder.start)]
    ['l', 'n', 'r', 'y']
    """

    start: int
    ended: int = 0

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._states: list[frozenset[_Config]] = [frozenset()]
        self._number: dict[frozenset[_Config], int] = {frozenset(): 0}
        self._after: dict[tuple[int, int], int | None] = {}
        self._next: dict[int, dict[int, int]] = {0: {}}
        self._allowed: dict[int, NDArray[np.int64]] = {}
        configs: set[_Config] = set()
        _expand(((grammar,), ()), configs)
        self.start = self._state(frozenset(configs))

    @property
    def states(self) -> int:
        """How many states it has met and keeps."""
        return len(self._states)

    def _state(self, configs: frozenset[_Config]) -> int:
        number = self._number.get(configs)
        if number is None:
            number = self._number[configs] = len(self._states)
            self._states.append(configs)
        return number

    def _symbol(self, state: int, symbol: int) -> int | None:
        key = state, symbol
        if key not in self._after:
            configs: set[_Config] = set()
            for config in self._states[state]:
                left = _step(config, symbol)
                if left is not None:
                    _expand(left, configs)
            self._after[key] = self._state(frozenset(configs)) if configs else None
        return self._after[key]

    def accepts(self, state: int) -> bool:
        """Whether the answer may end here."""
        return any(not stack for stack, _ in self._states[state])

    def _moves(self, state: int) -> dict[int, int]:
        """Token → state after it, for every token that is allowed but the end token."""
        if state not in self._next:
            moves: dict[int, int] = {}
            pending = [(self.vocabulary.trie, state)]
            while pending:
                node, at = pending.pop()
                for token in node.tokens:
                    moves[token] = at
                for symbol, child in node.children.items():
                    after = self._symbol(at, symbol)
                    if after is not None:
                        pending.append((child, after))
            self._next[state] = moves
        return self._next[state]

    def allowed_tokens(self, state: int) -> NDArray[np.int64]:
        """Ids of the tokens that may come next, ascending; the end token among them where the answer may end."""
        if state not in self._allowed:
            tokens = list(self._moves(state))
            if self.accepts(state):
                tokens.append(self.vocabulary.end)
            self._allowed[state] = np.array(sorted(tokens), np.int64)
        return self._allowed[state]

    def mask(self, states: Sequence[int]) -> NDArray[np.bool_]:
        """Which tokens may come next in each of several states, [states, vocabulary]; everything once it has ended."""
        out = np.zeros((len(states), len(self.vocabulary)), bool)
        for row, state in zip(out, states, strict=True):
            if state == self.ended:
                row[:] = True
            else:
                row[self.allowed_tokens(state)] = True
        return out

    def advance(self, state: int, token: int) -> int:
        """The state after a token.

        Raises
        ------
        DecodingError
            The grammar does not allow the token here.
        """
        if token == self.vocabulary.end and self.accepts(state):
            return self.ended
        after = self._moves(state).get(token)
        if after is None:
            raise DecodingError(f"Token {token} is not allowed after what was written.")
        return after

    def read(self, tokens: Iterable[int]) -> int:
        """The state after several tokens (see `advance`); what follows the end token is left out."""
        state = self.start
        for token in tokens:
            state = self.advance(state, int(token))
            if state == self.ended:
                break
        return state


class ConstrainedLogits:
    """Masks a model's scores, row by row: a `LogitsProcessor` for `transformers`' `generate`.

    Parameters
    ----------
    decoders
        One for all rows, or one each (SDA questions differ in their number of frames). Kept between calls, they know
        their states already.
    prompt_length
        Tokens before the answer, the same in every row.
    """

    def __init__(self, decoders: ConstrainedDecoder | Sequence[ConstrainedDecoder], prompt_length: int) -> None:
        self.decoders, self.prompt_length = decoders, prompt_length
        self._states: dict[tuple[int, tuple[int, ...]], int] = {}

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores [rows, vocabulary], −∞ where the grammar forbids a token; rows that have ended stay as they are."""
        import torch

        answers = [tuple(row) for row in input_ids[:, self.prompt_length :].tolist()]
        known: dict[tuple[int, tuple[int, ...]], int] = {}
        forbidden = torch.zeros(scores.shape, dtype=torch.bool)
        for k, answer in enumerate(answers):
            one = self.decoders if isinstance(self.decoders, ConstrainedDecoder) else self.decoders[k]
            before = self._states.get((id(one), answer[:-1])) if answer else one.start
            if before is None:
                state = one.read(answer)
            elif not answer or before == one.ended:
                state = before
            else:
                state = one.advance(before, answer[-1])
            known[id(one), answer] = state
            if state != one.ended:
                forbidden[k] = True
                forbidden[k, torch.from_numpy(one.allowed_tokens(state))] = False
        self._states = known
        return scores.masked_fill(forbidden.to(scores.device), float("-inf"))


class GazePrior:
    """Weighs the points a model may name by its own map of the gaze: a `LogitsProcessor`.

    A text model commits to a point's first number before it knows the second, and to a place before it has weighed the
    others; the map has weighed them all. Both say how likely a place is, so their logarithms are added (a product of
    experts: Hinton, Neural Computation 14, 2002). Only where a point lies is weighed, not whether there is one: the
    likeliest number scores what the likeliest did. Works for vocabularies in which "(480," and "320," are single
    tokens; with others nothing changes.

    Parameters
    ----------
    maps
        Gaze of each row, 0–1, [h, w] over the whole image.
    vocabulary
        Of the model.
    """

    def __init__(self, maps: Iterable[NDArray[Any]], vocabulary: Vocabulary) -> None:
        self.first, self.second, _ = vocabulary.coordinates
        self.log = [np.log(np.maximum(m, LEAST_GAZE)) for m in maps]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores [rows, vocabulary]; a first number is as likely as the best point of its column."""
        scores = scores.clone()
        if not (self.first and self.second):
            return scores
        for k, (log, last) in enumerate(zip(self.log, input_ids[:, -1].tolist(), strict=True)):
            _weigh(scores[k], self.first, _along(log.max(axis=0), self.first))
            if last in self.first:
                _weigh(scores[k], self.second, _along(log[:, _at(self.first[last], log.shape[1])], self.second))
        return scores


class BoxPrior:
    """Weighs the corners of a box a model may write by where its heat of that finding ends: a `LogitsProcessor`.

    A product of experts, as in `GazePrior`. Of each edge the heat says: as surely as the finding is there at all, near
    the edge of the heat (Laplace, `EDGE`), and otherwise anywhere. It weighs the box of the finding that the answer has
    named, if it knows that finding.

    Parameters
    ----------
    edges
        For each row, finding → (box, sureness): where its heat lies, as shares of the image 0–1 (left, top, right,
        bottom), and how sure the heat is, below 1.
    vocabulary
        Of the model; where "(480," and "320)" are no single tokens in it, nothing changes.
    prompt_length
        Tokens before the answer, the same in every row.
    """

    def __init__(
        self,
        edges: Sequence[Mapping[str, tuple[Sequence[float], float]]],
        vocabulary: Vocabulary,
        prompt_length: int = 0,
    ) -> None:
        self.edges, self.vocabulary, self.prompt_length = edges, vocabulary, prompt_length
        first, _, corner = vocabulary.coordinates
        self.numbers = [(tokens, np.array(list(tokens.values())) / TOP) for tokens in (first, corner)]
        self.ids = {name: vocabulary.pieces.index((symbol,)) for name, symbol in _SPECIAL_AT.items()}

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores [rows, vocabulary]; only those of a corner's next number change."""
        scores = scores.clone()
        (first, _), (corner, _) = self.numbers
        if not (first and corner):
            return scores
        for k, answer in enumerate(input_ids[:, self.prompt_length :].tolist()):
            named, inside = self._open_box(answer)
            if named not in self.edges[k]:
                continue
            written = sum(token in first or token in corner for token in inside)
            if written < 4:
                edges, there = self.edges[k][named]
                tokens, at = self.numbers[written % 2]
                away = np.abs(at - edges[written])
                _weigh(scores[k], tokens, np.log(there * np.exp(-away / EDGE) / (2 * EDGE) + 1 - there))
        return scores

    def _open_box(self, tokens: list[int]) -> tuple[str, list[int]]:
        """The finding last named and what is written of its box; ("", []) outside of one."""
        begun = _last(tokens, self.ids["<|box_start|>"])
        ref, end = _last(tokens, self.ids["<|object_ref_start|>"]), _last(tokens, self.ids["<|object_ref_end|>"])
        if not 0 <= ref < end < begun or _last(tokens, self.ids["<|box_end|>"]) > begun:
            return "", []
        return self.vocabulary.text(tokens[ref + 1 : end]).strip(), tokens[begun + 1 :]


def _last(tokens: list[int], token: int) -> int:
    """Where a token stands last; −1 where it does not."""
    return max((k for k, one in enumerate(tokens) if one == token), default=-1)


def _weigh(scores: Any, numbers: dict[int, int], log: NDArray[Any]) -> None:
    """Add to the scores [vocabulary] of some numbers a logarithm each; the likeliest scores what the likeliest did."""
    import torch

    tokens = list(numbers)
    before = scores[tokens]
    after = before + torch.as_tensor(log, dtype=scores.dtype).to(scores.device)
    scores[tokens] = after + (before.max() - after.max())


def _along(log: NDArray[Any], numbers: dict[int, int]) -> NDArray[Any]:
    """What the cells along an axis say of each of some numbers."""
    return np.asarray(log[[_at(n, len(log)) for n in numbers.values()]])


def _at(number: int, cells: int) -> int:
    """Which of the cells along an axis holds a number of 0–1000."""
    return min(number * cells // TOP, cells - 1)
