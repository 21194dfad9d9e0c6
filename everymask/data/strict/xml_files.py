"""XML files without what XML lets pass: no document type definitions, no files without bound."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from everymask.data.issues import IssueLog
from everymask.data.strict.content import read_content
from everymask.errors import DataError, printable

_FOREIGN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _DtdError(Exception):
    pass


def read_strict_xml(file: Path, issues: IssueLog, *, max_bytes: int) -> Element | None:
    """The root of an XML file, or None when `issues` was told why it cannot be used.

    Refused are, each with its line: bad syntax, a truncated file, any DTD (a few lines of it can unfold to gigabytes),
    files above `max_bytes`, and what `read_content` refuses; raises what that raises.
    """
    data = read_content(file, issues, most=max_bytes, code="xml-too-large")
    if data is None:
        return None
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_dtd
    try:
        parser.Parse(data, True)
    except _DtdError:
        hint = "remove the <!DOCTYPE ...> block"
        where = f"line {parser.CurrentLineNumber}"
        issues.error("xml-dtd", "a document type definition is not allowed", file=file, where=where, hint=hint)
        return None
    # An encoding that Python does not know is a LookupError.
    except (expat.ExpatError, ValueError, LookupError) as error:
        hint = "the file seems damaged or cut short: export it again"
        where = f"line {parser.CurrentLineNumber}"
        issues.error("xml-syntax", f"not XML: {error}", file=file, where=where, hint=hint)
        return None
    return builder.close()


def check_xml_text(text: str) -> None:
    """Raise `DataError` where a text has characters that XML 1.0 cannot hold, such as control characters."""
    if _FOREIGN.search(text):
        raise DataError(f"the name {printable(text)} has characters that XML cannot hold", hint="rename it")


def _refuse_dtd(*_: object) -> None:
    raise _DtdError
