"""`docs/clearing-files.md`, out of the formats themselves."""

import textwrap
from types import ModuleType
from typing import Any, Final

import msgspec

from settlement.files import (
    acoma,
    alfee,
    com,
    csv_file,
    erra,
    ipm,
    layout,
    merchant_check,
    packed,
    presentment,
    vbs,
    zm,
    zsum,
)
from settlement.files.registry import FORMATS, Format
from settlement.files.rows import KINDS, CodedExpected, Expected

INTRODUCTION: Final = """\
# Clearing files

What the day's end reads, one type a module of `settlement/files/`. This page is made from the tables
that read the files: `tongbao files layout --markdown` prints it, and a test fails where it is not so.

A file is taken in whole or not at all. What breaks its layout refuses it with file, line, column,
value and reason; values that can hold a card number are not shown. Where a file tells counts and
sums, they are compared before anything is taken in. What no source says clearly is called unverified;
[a decision](decisions/0017-what-a-file-does-not-say.md) says how it is dealt with.

| command | |
| --- | --- |
| `tongbao files layout [TYPE]` | all types, or the table of one |
| `tongbao files show FILE [--type T] [--date D] [--expected F]` | the rows of a file, masked, or the mistake with its column marked; needs no node |
| `tongbao files list [--date D]` | the files that were taken in |
| `tongbao files rows KIND [--date D]` | rows that are no transactions |

## What a link expects

`clearing` of a link is `"com"` (one COM a settlement date), `"none"`, or a table of the types that come:

```toml
[[link]]
acquirer = "bank-a"
clearing = { COM = {}, ERRA = { optional = true }, ZPSUM = { optional = true } }
```

The day's end waits for every type that is not optional. An empty file says that nothing happened, an
absent one says nothing. A file of a type that is not named stays in the inbox. A CSV is described
whole:

```toml
[[link]]
acquirer = "wallet"

[link.clearing.CSV]
name = 'settle_(?P<date>\\d{8})\\.csv'
encoding = "gbk"
gives = ["sale"]
takes_back = ["refund"]
trailer = { mark = "TOTAL", count = 2, amount = 4 }
columns = [
    { title = "type", field = "type" },
    { title = "reference", field = "rrn" },
    { title = "time", field = "time", format = "%Y-%m-%d %H:%M:%S" },
    { title = "amount", field = "amount" },
    { title = "shop", field = "merchant" },
    { title = "note" },
]
```
"""

AFTER: Final = (
    ("Shipping", packed),
    ("Fixed width", layout),
    ("VBS and blocking", vbs),
)
MODULES: Final[dict[str, ModuleType]] = {
    "COM": com,
    "ACOMA": acoma,
    "ALFEE": alfee,
    "ERRA": erra,
    "ZSUM": zsum,
    "ZPSUM": zsum,
    "ZM": zm,
    "CHECK": merchant_check,
    "PRESENTMENT": presentment,
    "CSV": csv_file,
    "IPM": ipm,
}


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, _types(), _options(), _kinds()]
    parts += [_format(form) for form in FORMATS.values()]
    parts += [f"## {title}\n\n{_doc(module)}\n" for title, module in AFTER]
    return "\n".join(parts)


def _types() -> str:
    lines = ["## Types", "", "| type | what | | named by |", "| --- | --- | --- | --- |"]
    for form in FORMATS.values():
        by = "the link (`name`)" if form.parse_name is None else "the standard"
        lines.append(
            f"| [{form.name}](#{form.name.lower()}) | {form.title[0]} | {form.title[1]} | {by} |"
        )
    return "\n".join([*lines, ""])


def _options() -> str:
    """The keys of every type's entry in `clearing`."""
    lines = ["## Options", "", _doc(Expected), "", *_keys(Expected, ())]
    for shape in (
        CodedExpected,
        merchant_check.CheckExpected,
        csv_file.CsvExpected,
        ipm.IpmExpected,
    ):
        users = [form.name for form in FORMATS.values() if issubclass(form.expected, shape)]
        head = f"### Options of {', '.join(users)}"
        known = (
            Expected.__struct_fields__
            if shape is CodedExpected
            else CodedExpected.__struct_fields__
        )
        lines += ["", head, "", _doc(shape), "", *_keys(shape, known)]
    for key, part in (("columns", csv_file.CsvColumn), ("trailer", csv_file.CsvTrailer)):
        lines += ["", f"#### `{key}` of CSV", "", _doc(part), "", *_keys(part, ())]
    fields = ", ".join(f"`{name}`" for name in csv_file.FIELDS)
    return "\n".join([*lines, "", f"Fields of a CSV column: {fields}.", ""])


def _keys(shape: type[msgspec.Struct], known: Any) -> list[str]:
    lines = ["| key | default |", "| --- | --- |"]
    for field in msgspec.structs.fields(shape):
        if field.name not in known:
            required = field.default is msgspec.NODEFAULT
            default = "" if required else f"`{msgspec.json.encode(field.default).decode()}`"
            lines.append(f"| {field.name} | {default} |")
    return lines


def _kinds() -> str:
    lines = [
        "## What rows become",
        "",
        "Transactions go to reconciliation (`settlement.clearing_row`). Other rows are kept by kind",
        "in `settlement.file_row`:",
        "",
        "| kind | what |",
        "| --- | --- |",
    ]
    lines += [f"| `{kind}` | {_first(shape)} |" for kind, shape in KINDS.items()]
    return "\n".join([*lines, ""])


def _first(of: object) -> str:
    """The first sentence of a docstring."""
    paragraph = _doc(of).partition("\n\n")[0].replace("\n", " ")
    return paragraph.partition(". ")[0].rstrip(".")


def _format(form: Format) -> str:
    parts = [f"## {form.name}", "", _doc(MODULES[form.name]), ""]
    for table in form.layouts:
        parts += ["```text", str(table), "```", ""]
    return "\n".join(parts)


def _doc(of: object) -> str:
    """A docstring as the page has it: without examples, code's quotes or sections of its own."""
    text = textwrap.dedent("    " + (of.__doc__ or "")).strip()
    first, _, rest = text.partition("\n")
    return f"{first}\n{textwrap.dedent(rest)}".strip()
