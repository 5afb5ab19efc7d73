"""XML of a stranger, read safely: bounded, without document types, entities or other encodings.

A document type is where entities are declared (expansion bombs, files of this machine), so one is
refused before anything else is read. What is left is a small tree of what the messages here need.
"""

from typing import Final
from xml.parsers import expat

import msgspec

from settlement.said import SaidError

BYTES_MAX: Final = 64 * 1024 * 1024
ELEMENTS_MAX: Final = 4_000_000
DEPTH_MAX: Final = 32
TEXT_MAX: Final = 4_096  # characters of one element


class XmlError(SaidError):
    """Not the document that was expected; the text says what and where."""


class Element(msgspec.Struct):
    """`tag` without its namespace, which is the document's."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"]
    text: str = ""
    line: int = 0  # on which it begins

    def all(self, path: str) -> list["Element"]:
        """Every element under a path of tags such as `Refs/EndToEndId`."""
        found = [self]
        for tag in path.split("/"):
            found = [child for one in found for child in one.children if child.tag == tag]
        return found

    def first(self, path: str) -> "Element | None":
        found = self.all(path)
        return found[0] if found else None

    def value(self, *paths: str) -> str:
        """The text of the first path that has one; "" where none has."""
        for path in paths:
            found = self.first(path)
            if found is not None and found.text:
                return found.text
        return ""


def parse(data: bytes, namespace: str) -> Element:
    """The root of a document in one namespace. Raises `XmlError`."""
    if len(data) > BYTES_MAX:
        raise XmlError("xml_size", size=len(data), most=BYTES_MAX)
    parser = expat.ParserCreate(encoding="UTF-8", namespace_separator=" ")
    reader = _Reader(namespace, parser)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.EntityDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat takes it by position
    except expat.ExpatError as error:
        raise XmlError(
            "xml_at", line=error.lineno, column=error.offset, reason=_why(error)
        ) from error
    except XmlError as error:
        raise XmlError("at_line", line=parser.CurrentLineNumber, reason=error) from None
    assert reader.root is not None
    return reader.root


def _why(error: expat.ExpatError) -> str:
    return expat.ErrorString(error.code) or "not well-formed"


class _Reader:
    def __init__(self, namespace: str, parser: expat.XMLParserType) -> None:
        self._parser = parser
        self.root: Element | None = None
        self._namespace = namespace
        self._open: list[Element] = []
        self._count = 0

    def doctype(self, *_: object) -> None:
        raise XmlError("xml_doctype")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, tag = name.rpartition(" ")
        if namespace != self._namespace:
            tag = name  # an extension of someone else's: nobody looks for it
        if self.root is None and tag == name:
            raise XmlError("xml_namespace", found=namespace or name, wanted=self._namespace)
        self._count += 1
        if self._count > ELEMENTS_MAX:
            raise XmlError("xml_elements", most=ELEMENTS_MAX)
        if len(self._open) >= DEPTH_MAX:
            raise XmlError("xml_depth", most=DEPTH_MAX)
        made = Element(tag, attributes, [], line=self._parser.CurrentLineNumber)
        if self._open:
            self._open[-1].children.append(made)
        else:
            self.root = made
        self._open.append(made)

    def end(self, _: str) -> None:
        done = self._open.pop()
        done.text = "" if done.children else done.text.strip()

    def characters(self, text: str) -> None:
        here = self._open[-1]
        if here.children and text.isspace():
            return  # indentation
        if len(here.text) + len(text) > TEXT_MAX:
            raise XmlError("xml_text", most=TEXT_MAX, tag=here.tag)
        here.text += text
