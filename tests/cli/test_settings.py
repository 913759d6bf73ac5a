"""``--config``: what it may hold, and the messages for mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def dry_run(lloki, tissue_files: Path, tmp_path: Path):
    """Dry run with a config file of the given content: exit code and output."""

    def run(text: str, *more: object) -> tuple[int, str]:
        file = tmp_path / "mine.toml"
        file.write_text(text)
        result = lloki("integrate", "--config", file, "--out", tmp_path / "out", "--dry-run", *more)
        return result.exit_code, " ".join(result.output.replace("│", " ").split())

    return run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lable-key = 'x'", "there is no option 'lable-key'. Did you mean 'label-key'?"),
        ("zzz = 1", "there is no option 'zzz'. There are:"),
        ("[fp]\niteration = 3", "[fp]: there is no field 'iteration'. Did you mean 'iterations'?"),
        ("[cae]\nk = 3", "[cae]: there is no field 'k'"),
        ("[fp]\nn-neighbors = 3", "[fp]: n-neighbors is an option; move it above the tables."),
        ("[cae]\nsteps = 'many'", "[cae]: steps must have the type of its default"),
        ("[cae]\nsteps = true", "[cae]: steps must have the type of its default"),
        ("[cae]\nhidden = 3", "[cae]: hidden must have the type of its default"),
        ("[cae]\nsteps = -1", "steps must be"),
        ("n-neighbors = 'many'", "Invalid value for '--n-neighbors'"),
        ("n-neighbors = [1, 2]", "n-neighbors takes one value, got [1, 2]"),
        ("seed = -1", "Invalid value for '--seed'"),
        ("seed = 1.5", "seed must have the type of its default 0, got 1.5"),
        ("seed = true", "seed must have the type of its default 0, got True"),
        ("preset = 3", "preset must have the type of its default 'default', got 3"),
        ("skip-bad = 'yes'", "skip-bad must have the type of its default False, got 'yes'"),
        ("preset = 'papers'", "no preset 'papers'"),
        ("embedder = 'scvi'", "no embedder is called 'scvi'"),
        ("n-neighbors = ", "is not valid TOML"),
    ],
)
def test_mistakes_are_named(dry_run, tissue_files, text, expected):
    slices = [tissue_files / "alphafish_1.h5ad", "--reference", tissue_files / "reference.h5ad"]
    code, output = dry_run(text, *slices)
    assert code == 2, output
    assert expected in output
    assert "Traceback" not in output


def test_a_value_of_the_wrong_kind_names_the_file(dry_run, tissue_files):
    _, output = dry_run("n-neighbors = 'many'", tissue_files / "alphafish_1.h5ad")
    assert "mine.toml" in output.replace(" ", "")


def test_a_missing_file(lloki, tmp_path):
    result = lloki("integrate", "--config", tmp_path / "none.toml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "none.toml" in result.stderr


def test_slices_and_samplesheet_may_be_named_in_the_file_relative_to_it(lloki, tissue_files, tmp_path):
    file = tissue_files / "slices.toml"
    file.write_text(
        'slices = ["alphafish_1.h5ad"]\nreference = "reference.h5ad"\ntechnology = "New=alphafish_1"\n'
    )
    result = lloki("integrate", "--config", file, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "New" in result.stdout


def test_the_command_line_takes_precedence(dry_run, tissue_files):
    slices = [tissue_files / "alphafish_1.h5ad", "--reference", tissue_files / "reference.h5ad"]
    code, output = dry_run("preset = 'nonsense'", *slices, "--preset", "paper")
    assert code == 0, output
