"""Sample sheets and marker tables are read however a spreadsheet saved them; errors name file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lloki._tables import read_table
from lloki.analysis import MarkerTable
from lloki.cli.samplesheet import read_samplesheet
from lloki.errors import ConfigError, InputError

ROWS = [("Astro", "Acsbg1;Fgfr3", "Mog"), ("Müller", "Rlbp1;Glul", ""), ("Exc", "Cux1;MHC I", "")]
PLAIN = "type,positive,negative\n" + "".join(",".join(row) + "\n" for row in ROWS)


def quoted(separator: str) -> str:
    return (
        separator.join(("type", "positive", "negative"))
        + "\n"
        + "".join(separator.join(f'"{value}"' for value in row) + "\n" for row in ROWS)
    )


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("cp1252"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        ("\n\n" + PLAIN + ",,\n,,\n").encode(),
        PLAIN.replace("\n", ",,\n").encode(),
        quoted(";").encode(),
        quoted("\t").encode(),
        ("sep=;\n" + quoted(";")).encode(),
        "".join(f"{i},{line}\n" for i, line in zip(["", 0, 1, 2], PLAIN.splitlines())).encode(),
    ],
)
def test_every_form_of_a_table_is_the_same(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "markers.csv"
    file.write_bytes(data)
    table = read_table(file)
    assert table.columns == ("type", "positive", "negative")
    assert [row.values for row in table.rows] == ROWS
    markers = MarkerTable.read(file)
    assert markers.types == ("Astro", "Müller", "Exc")
    assert markers.genes == ("Acsbg1", "Cux1", "Fgfr3", "Glul", "MHC I", "Mog", "Rlbp1")
    np.testing.assert_array_equal(markers.sign[0], [1, 0, 1, 0, 0, -1, 0])


@pytest.mark.parametrize("cells", [("Acsbg1", "Mog", "Fgfr3", "Mobp"), ("Acsbg1;Fgfr3", "Mog, Mobp", "", "")])
def test_a_column_for_each_type(cells: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "wide.csv"
    rows = ["Astro;Oligo", *(";".join(f'"{c}"' for c in cells[i : i + 2]) for i in (0, 2))]
    file.write_text("\n".join(rows))
    markers = MarkerTable.read(file)
    assert markers.types == ("Astro", "Oligo")
    assert markers.genes == ("Acsbg1", "Fgfr3", "Mobp", "Mog")
    np.testing.assert_array_equal(markers.sign, [[1, 1, 0, 0], [0, 0, 1, 1]])


def test_errors_name_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("type,positive\n\nA,g1,g2\n")
    with pytest.raises(InputError, match=r"t.csv: line 3: has 3 values for 2 columns. Put quotes"):
        read_table(file)
    file.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match="workbook"):
        read_table(file)
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.csv")


def test_sheets_of_pandas_and_of_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sheet = tmp_path / "sheet.csv"
    sheet.write_bytes(
        ",path;x,sample\r\n0,~/a.h5ad,Köln\r\n1,b.h5ad,m2\r\n,,\r\n".replace(";x", "").encode("cp1252")
    )
    rows = read_samplesheet(Path("~/sheet.csv"))
    assert [(row.path, row.sample) for row in rows] == [
        (tmp_path / "a.h5ad", "Köln"),
        (tmp_path / "b.h5ad", "m2"),
    ]
    sheet.write_text("row,path\n7,a.h5ad\n")
    with pytest.raises(ConfigError, match="line 1: there is no column 'row'"):
        read_samplesheet(sheet)
