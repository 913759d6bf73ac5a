"""Sample sheets and ``--technology``: from what the user wrote to the slices that are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lloki.cli.inputs import named_inputs
from lloki.cli.samplesheet import SheetRow, read_samplesheet
from lloki.errors import ConfigError


@pytest.fixture
def sheet(tmp_path: Path):
    def write(text: str, encoding: str = "utf-8") -> Path:
        file = tmp_path / "sheet.csv"
        file.write_bytes(text.encode(encoding))
        return file

    return write


def test_all_columns(sheet, tmp_path):
    rows = read_samplesheet(
        sheet("path,sample,technology,panel,layer\na.h5ad,one,MERFISH,p,counts\n/b.h5ad,,,,\n")
    )
    assert rows == [
        SheetRow(tmp_path / "a.h5ad", "one", "MERFISH", "p", "counts"),
        SheetRow(Path("/b.h5ad")),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_spreadsheets_write(sheet, tmp_path, separator, encoding):
    text = f"Technology{separator}path\r\nX{separator}a b.h5ad\r\n{separator}\r\n"
    assert read_samplesheet(sheet(text, encoding)) == [SheetRow(tmp_path / "a b.h5ad", technology="X")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,tecnology\na,b\n", "line 1: there is no column 'tecnology'. Did you mean 'technology'?"),
        ("sample\na\n", "line 1: the column path is missing"),
        ("path,path\na,b\n", "line 1: column path is there twice"),
        ("path,sample\na,x\n\n,y\n", "line 4, column path: is empty"),
        ("path,sample\na,x\nb,x\n", "line 3, column sample: 'x' is also in line 2"),
        ("path\na,b\n", "line 2: has 2 values for 1 columns"),
        ("path\n", "lists no slices"),
        ("", "lists no slices"),
    ],
)
def test_mistakes_are_placed(sheet, text, expected):
    with pytest.raises(ConfigError, match=r"sheet\.csv") as error:
        read_samplesheet(sheet(text))
    assert expected in str(error.value)


def test_a_sheet_that_is_no_text_or_not_there(sheet, tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"path\n\x01\x02\xff\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_samplesheet(tmp_path / "binary.csv")
    with pytest.raises(ConfigError, match="does not exist"):
        read_samplesheet(tmp_path / "none.csv")


def test_sheet_to_arguments(sheet, tmp_path):
    paths, how = named_inputs(
        None,
        samplesheet=sheet("path,sample,technology,layer\na.h5ad,one,MERFISH,\nb.h5ad,,Xenium,raw\n"),
        technology=["CosMx=b.h5ad"],
    )
    assert paths == [tmp_path / "a.h5ad", tmp_path / "b.h5ad"]
    assert how == {
        "technology": {"one": "MERFISH", "b": "CosMx"},  # the command line overrides the sheet
        "samples": ["one", "b"],
        "layers": [None, "raw"],
    }


def test_technology_by_path_name_or_sample(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [Path("x/s.h5ad"), Path("y/s.h5ad"), Path("t.zarr")]
    paths, how = named_inputs(given, technology=[f"A={tmp_path}/x/s.h5ad", "B=y_s", "C=t.zarr"])
    assert paths == given
    assert how == {"technology": {"x_s": "A", "y_s": "B", "t": "C"}}


@pytest.mark.parametrize(
    ("technology", "expected"),
    [
        ("A", "write NAME=FILE"),
        ("=s.h5ad", "write NAME=FILE"),
        ("A=s.h5ad", "several slices are called so"),
        ("A=tt", "Did you mean 't'?"),
        ("t=MERFISH", "the technology comes first: --technology MERFISH=t"),
    ],
)
def test_technology_for_no_slice(technology, expected):
    with pytest.raises(ConfigError) as error:
        named_inputs([Path("x/s.h5ad"), Path("y/s.h5ad"), Path("t.h5ad")], technology=[technology])
    assert expected in str(error.value)


def test_slices_named_twice_or_not_at_all(sheet):
    with pytest.raises(ConfigError, match="not both"):
        named_inputs([Path("a")], samplesheet=sheet("path\na\n"))
    with pytest.raises(ConfigError, match="No slices"):
        named_inputs(None)


def test_check_reads_the_sheet(lloki, sheet, tissue_files):
    file = sheet(f"path,sample,technology\n{tissue_files}/alphafish_1.h5ad,first,MERFISH\n")
    result = lloki("check", "--samplesheet", file)
    assert result.exit_code == 0, result.output
    assert "first" in result.stdout
    assert "MERFISH" in result.stdout
