"""`tongbao files`: rows and mistakes of a file, without a node; no card number leaves it."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from settlement.adapters.postgres import open_postgres
from settlement.clearing import ClearingRow, IncomingFile
from settlement.columns import relation
from settlement.files.registry import FORMATS
from settlement.files.rows import KINDS
from switch.commands.common import CommandError, Exit
from switch.commands.files import app, marked
from switch.texts import TEXTS
from tests.settlement.files.samples import FILES, NAMES, read
from tests.settlement.world import ACQUIRER, DAY, PAN

if TYPE_CHECKING:
    from tests.database import FreshDatabase

MASK = "622202*********0123"
CHECK = r"""
[CHECK]
name = 'check_(?P<date>\d{8})\.txt'
gives = ["S22"]
takes_back = ["R07"]
"""


def run(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, [*words, "--lang", "en"])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.exit_code, answer.stdout


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for type_, data in FILES.items():
        (tmp_path / NAMES[type_]).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("type_", ["COM", "ACOMA", "ALFEE", "ERRA", "ZSUM", "ZPSUM", "ZM"])
def test_a_file_of_the_standard_is_known_by_its_name(place: Path, type_: str) -> None:
    code, text = run("show", str(place / NAMES[type_]))
    assert code == Exit.DONE
    assert PAN not in text
    assert f"type={type_}" in text
    code, text = run("show", str(place / NAMES[type_]), "--json")
    *rows, totals = objects(text)
    assert len(rows) >= 2
    assert (totals["kind"], totals["type"], totals["settlement_date"]) == (
        "totals",
        type_,
        "2026-08-03",
    )
    assert PAN not in text


def test_a_row_shows_the_card_masked_and_amounts_in_yuan(place: Path) -> None:
    _, text = run("show", str(place / NAMES["COM"]))
    assert MASK in text
    assert "100.00" in text
    _, lines = run("show", str(place / NAMES["COM"]), "--json")
    first = objects(lines)[0]
    assert (first["pan_masked"], first["amount_minor"], first["effect_minor"]) == (
        MASK,
        10_000,
        10_000,
    )
    assert "pan_token" not in first


def test_other_names_are_told_or_described(place: Path) -> None:
    with pytest.raises(CommandError, match="give --type and --date") as refused:
        run("show", str(place / NAMES["IPM"]))
    assert refused.value.code == Exit.USAGE
    assert run("show", str(place / NAMES["IPM"]), "--type", "ipm", "--date", "2026-08-03")[0] == 0
    with pytest.raises(CommandError, match="CHECK: gives: the codes of sales are needed"):
        run("show", str(place / NAMES["CHECK"]), "--type", "CHECK", "--date", "2026-08-03")
    described = place / "expected.toml"
    described.write_text(CHECK)
    code, text = run("show", str(place / NAMES["CHECK"]), "--expected", str(described), "--json")
    assert code == Exit.DONE
    assert objects(text)[-1]["effect_minor"] == 9_500


def test_a_packed_file_is_unpacked(place: Path) -> None:
    packed = place / f"{NAMES['ERRA']}.gz"
    packed.write_bytes(gzip.compress(FILES["ERRA"]))
    assert run("show", str(packed)) == run("show", str(place / NAMES["ERRA"]))
    packed.write_bytes(b"\x1f\x8b")
    code, text = run("show", str(packed))
    assert code == Exit.USAGE
    assert "gzip" in text


def test_a_mistake_is_marked_under_its_column(place: Path) -> None:
    data = FILES["COM"]
    at = 301 + 62 + 8  # the second line's amount
    broken = place / NAMES["COM"]
    broken.write_bytes(data[:at] + b"O" + data[at + 1 :])
    code, text = run("show", str(broken))
    assert code == Exit.USAGE
    told, line, marker = text.splitlines()
    assert "line 2, column 63" in told
    assert line[marker.index("^") :].startswith("********O000")
    assert PAN[6:12] not in text
    code, text = run("show", str(broken), "--json")
    (error,) = objects(text)
    assert (code, error["kind"], error["line"], error["column"]) == (2, "error", 2, 63)


def test_the_mark_stands_under_its_byte_behind_two_byte_characters() -> None:
    table = FORMATS["ZSUM"].layouts[0]
    line, marker = marked(FILES["ZSUM"], 1, 98, table)  # type: ignore[arg-type]
    before = line[: line.index("C")]
    assert len(before) == len(marker) - 1
    wide, _ = marked(FILES["ZSUM"], 1, 24, table)  # type: ignore[arg-type]
    assert "老茶馆" in wide


def test_a_shifted_card_number_is_not_shown(place: Path) -> None:
    data = FILES["COM"]
    broken = place / NAMES["COM"]
    for cut in range(20, 62):
        broken.write_bytes(data[:cut] + data[cut + 1 :])
        code, text = run("show", str(broken))
        assert code == Exit.USAGE
        assert PAN[:7] not in text
        assert PAN[-7:] not in text


def test_layouts() -> None:
    code, text = run("layout")
    assert code == Exit.DONE
    assert all(name in text for name in FORMATS)
    code, text = run("layout", "zpsum")
    assert "credited" in text
    code, lines = run("layout", "COM", "--json")
    assert objects(lines)[4]["name"] == "pan"
    assert objects(run("layout", "IPM", "--json")[1])[0]["de"] == 2
    assert len(objects(run("layout", "--json")[1])) == len(FORMATS)
    with pytest.raises(CommandError, match="no such type"):
        run("layout", "TCR")


def test_what_is_not_there_or_not_understood_is_usage(place: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run("show", str(place / "nothing"))
    bad = place / "bad.toml"
    for text in ("[", "[COM]\ncolour = 1\n"):
        bad.write_text(text)
        with pytest.raises(CommandError, match=r"bad\.toml"):
            run("show", str(place / NAMES["COM"]), "--expected", str(bad))


# -- what was taken in ----------------------------------------------------------------------------


def test_files_and_their_rows_are_listed(tmp_path: Path, database_dsn: "FreshDatabase") -> None:
    async def fill() -> None:
        async with open_postgres(database_dsn.app) as (store, _):
            for type_ in ("COM", "ERRA"):
                parsed = read(type_, FILES[type_])
                count = len(parsed.transactions) + len(parsed.rows)
                name = NAMES[type_]
                file = IncomingFile(
                    ACQUIRER, name, type_, DAY, 1, 1, type_.encode().ljust(32), count, DAY, b"s"
                )
                transactions = relation(ClearingRow, parsed.transactions)
                await store.take_in(file, transactions, parsed.rows)

    asyncio.run(fill())
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{database_dsn.owner}"\n')
    place = ("--config", str(config))
    code, text = run("list", "--json", *place)
    assert code == Exit.DONE
    assert [(one["type"], one["rows"], one["version"]) for one in objects(text)] == [
        ("COM", 2, 1),
        ("ERRA", 2, 1),
    ]
    assert "sealed" not in text
    assert NAMES["ERRA"] in run("list", "--date", "2026-08-03", *place)[1]
    assert NAMES["ERRA"] not in run("list", "--date", "2026-08-04", *place)[1]
    _, text = run("rows", "adjustment", "--json", *place)
    first, second = objects(text)
    assert (first["error_type"], second["error_type"], first["payable_minor"]) == (
        "E05",
        "E25",
        10_000,
    )
    assert first["pan_masked"] == MASK
    assert MASK in run("rows", "adjustment", *place)[1]
    for half in TEXTS["help_arg_kind"]:
        assert all(kind in half for kind in KINDS)
    with pytest.raises(CommandError, match="no such kind; there are adjustment"):
        run("rows", "nothing", *place)
