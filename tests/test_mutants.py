"""The tables of planted faults fit the code, and the script that plants them tells noticed from survived."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tools" / "mutants.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the tools are not in the source distribution")


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    module = importlib.import_module("mutants")
    monkeypatch.setattr(module, "LIBRARIES", [])  # of lloki's tests, which are not run here
    return module


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A package of two functions, of which the tests see one."""
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tools" / "faults").mkdir(parents=True)
    (tmp_path / "src" / "small.py").write_text(
        "def twice(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n"
    )
    (tmp_path / "tests" / "test_small.py").write_text(
        "import small\n\n\ndef test_twice():\n    assert small.twice(3) == 6\n    small.half(3)\n"
    )
    return tmp_path


def table(small: Path, *faults: tuple[str, str, str]) -> None:
    text = ""
    for name, find, replace in faults:
        text += f'[[fault]]\nname = "{name}"\nkind = "."\nfile = "src/small.py"\nfind = "{find}"\n'
        text += f'replace = "{replace}"\ntests = ["tests/test_small.py::test_twice"]\n'
    (small / "tools" / "faults" / "small.toml").write_text(text)


def test_the_tables_fit_the_code(mutants: ModuleType) -> None:
    assert mutants.check(ROOT, mutants.read(ROOT)) == []


def test_a_fault_that_no_test_sees_is_listed(
    mutants: ModuleType, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(small, ("thrice", "2 * x", "3 * x"), ("third", "x / 2", "x / 3"))
    assert mutants.run(small, mutants.read(small)) == 1
    out = capsys.readouterr().out
    assert "SURVIVES: small/third" in out
    assert "SURVIVES: small/thrice" not in out
    assert "2 faults, 1 noticed, 1 not" in out
    assert mutants.run(small, mutants.read(small, "thrice")) == 0
    assert "2 * x" in (small / "src" / "small.py").read_text()


def test_a_fault_that_keeps_the_tests_from_running_is_not_noticed(
    mutants: ModuleType, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(small, ("no import", "def half", "absent\\n\\ndef half"))
    assert mutants.run(small, mutants.read(small)) == 1
    assert "BROKEN: small/no import" in capsys.readouterr().out


def test_tests_that_fail_without_a_fault_say_nothing(
    mutants: ModuleType, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(small, ("thrice", "2 * x", "3 * x"))
    (small / "tests" / "test_small.py").write_text("def test_twice():\n    assert False\n")
    assert mutants.run(small, mutants.read(small)) == 1
    assert "fail without any fault" in capsys.readouterr().out


def test_tables_that_do_not_fit_are_refused(mutants: ModuleType, small: Path) -> None:
    table(
        small, ("a", "return", "yield"), ("b", "4 * x", "x"), ("c", "2 * x", "2 *"), ("c", "x / 2", "x / 2")
    )
    wrong = "\n".join(mutants.check(small, mutants.read(small)))
    assert "small/a: the text to replace occurs 2 times" in wrong
    assert "small/b: the text to replace occurs 0 times" in wrong
    assert "small/c: the fault is no Python" in wrong
    assert "small/c: changes nothing" in wrong
    assert "small/c: the name is taken" in wrong
    (small / "tests" / "test_small.py").write_text("")
    assert "there is no test" in "\n".join(mutants.check(small, mutants.read(small)))
