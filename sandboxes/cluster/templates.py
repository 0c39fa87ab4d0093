"""YAML templates with holes: `${name}` in a value is filled from a fixed set of names.

Filling happens on parsed values, never on text, so no value (an owner's name,
say) can add a line, a key or a document. A value that is nothing but `${x}`
becomes `x` itself, with its type: a number, a list, a mapping; if `x` is None, the
key (or list item) goes away, which is how an optional field is left out. Anything
else is joined as text. `$${x}` stays `${x}`. Every mistake names file and line, which is
why the YAML is read node by node instead of loaded.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sandboxes.errors import TemplateError

_HOLE: Final = re.compile(r"\$?\$\{([^}]*)\}")
_MAX_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file, as an editor counts."""

    path: Path
    line: int

    def error(self, message: str) -> TemplateError:
        """That mistake, at this place."""
        return TemplateError(f"{self.path}:{self.line}: {message}")


@dataclass(frozen=True, slots=True)
class Hole:
    """A string with at least one `${name}` in it."""

    text: str
    place: Place

    def fill(self, values: Mapping[str, Any]) -> Any:
        """The value itself if the hole is all there is, otherwise text."""
        whole = _HOLE.fullmatch(self.text)
        if whole is not None and not self.text.startswith("$$"):
            return self._value(whole[1], values)
        return _HOLE.sub(lambda match: self._text(match, values), self.text)

    def _text(self, match: re.Match[str], values: Mapping[str, Any]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        value = self._value(match[1], values)
        if value is None or isinstance(value, (bool, list, dict)):
            raise self.place.error(f"${{{match[1]}}} is no text: it must stand alone")
        return str(value)

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        if name not in values:
            raise self.place.error(f"unknown placeholder ${{{name}}}")
        return values[name]


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: `content` is plain data with `Hole`s; `lines` says where each path stands."""

    content: dict[str, Any]
    place: Place
    lines: Mapping[tuple[str, ...], int]

    def at(self, *path: str) -> Place:
        """The place of a key, or of the nearest thing above it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return Place(self.place.path, self.lines[path])

    def holes(self) -> frozenset[str]:
        """The names of all placeholders in it."""
        return frozenset(_names(self.content))

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A fresh object with every hole filled."""
        content: dict[str, Any] = _fill(self.content, values)
        return content


def load_documents(path: Path) -> list[Document]:
    """All documents of a file. TemplateError for bad YAML, or YAML that JSON could not say."""
    try:
        raw = path.read_bytes()
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Place(path, 1).error(f"cannot be read: {error}") from error
    if len(raw) > _MAX_BYTES:
        raise Place(path, 1).error(f"is larger than {_MAX_BYTES} bytes")
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise Place(path, line).error(f"bad YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise Place(path, 1).error(f"bad YAML: {error}") from error
    return [_document(path, node) for node in nodes if not _is_empty(node)]


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == ""


def _document(path: Path, node: yaml.Node) -> Document:
    reader = _Reader(path)
    content = reader.read(node, ())
    place = Place(path, node.start_mark.line + 1)
    if not isinstance(content, dict):
        raise place.error("a document must be a mapping")
    return Document(content, place, reader.lines)


class _Reader:
    """Turns YAML nodes into plain data, remembering lines on the way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scalars = yaml.SafeLoader("")
        self._seen: set[int] = set()
        self.lines: dict[tuple[str, ...], int] = {}

    def read(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """Data of a node. Aliases are refused: they may contain themselves, or grow without end."""
        place = Place(self._path, node.start_mark.line + 1)
        self.lines.setdefault(path, place.line)
        if id(node) in self._seen:
            raise place.error("is used by an alias; write it out instead")
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, str(number))) for number, child in enumerate(node.value)]
        return self._scalar(node, place)

    def _items(self, node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            place = Place(self._path, key_node.start_mark.line + 1)
            key = self._scalar(key_node, place) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise place.error("a key must be text without placeholders")
            if key in seen:
                raise place.error(f"duplicate key {key!r}")
            seen.add(key)
            self.lines[(*path, key)] = place.line
            yield key, self.read(value_node, (*path, key))

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise place.error("bad YAML: a value of unknown type") from error
        if isinstance(value, str):
            return Hole(value, place) if _HOLE.search(value) else value
        if value is None or isinstance(value, (bool, int, float)):
            return value
        raise place.error(f"{node.value!r} is neither text nor number: quote it")


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Hole):
        yield from (match[1] for match in _HOLE.finditer(value.text) if not match[0].startswith("$$"))
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _names(item)


def _fill(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Hole):
        return value.fill(values)
    if isinstance(value, dict):
        return dict(_kept(value.items(), values))
    if isinstance(value, list):
        return [item for _, item in _kept(enumerate(value), values)]
    return value


def _kept[K](items: Iterable[tuple[K, Any]], values: Mapping[str, Any]) -> Iterator[tuple[K, Any]]:
    """Entries filled, without those whose hole was filled with None; a template's own `null` stays."""
    for key, item in items:
        filled = _fill(item, values)
        if filled is not None or item is None:
            yield key, filled
