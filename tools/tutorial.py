"""Run the Python of pages of the documentation, and put what it prints and draws into them.

    python tools/tutorial.py docs/tutorials/mouse_cortex.md docs/gallery.md --folder WHERE_ITS_FILES_ARE

A block of text that follows a block of Python is its output, and is replaced. An image of
``images/gallery-…`` that follows is what its last line drew, and is written there, small. Blocks of shell are
not run. Other figures are written to the folder by the blocks themselves; copy those that changed to
``docs/images``. Pages share their names.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import os
import re
import textwrap
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

BLOCK = re.compile(
    r"^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```\n"
    r"(?P<text>\n```text\n.*?^```\n)?(?P<image>  - ```\{image\} (?P<file>images/gallery-\S+)\n)?",
    re.DOTALL | re.MULTILINE,
)
WIDTH = 900  # pixels


def run(code: str, names: dict[str, Any]) -> Any:
    """Execute a block, and give the value of its last line if that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "block", "exec"), names)
    return eval(compile(ast.Expression(last.value), "block", "eval"), names) if last else None


def draw(axes: Any, path: Path) -> None:
    """Write the figure of Axes, of at most 900 pixels and 256 colors."""
    first = axes[0] if isinstance(axes, list) else axes
    file = io.BytesIO()
    first.figure.savefig(file, dpi=130, bbox_inches="tight")
    picture = Image.open(file).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path, required=True, help="where to run")
    options = parser.parse_args()
    pages = [page.resolve() for page in options.pages]
    names: dict[str, Any] = {}
    os.chdir(options.folder)
    warnings.simplefilter("ignore")
    for page in pages:

        def again(found: re.Match[str], page: Path = page) -> str:
            code, printed = textwrap.dedent(found["code"]), io.StringIO()
            with contextlib.redirect_stdout(printed):
                value = run(code, names)
            print(code, printed.getvalue(), sep="\n", flush=True)
            if found["file"]:
                draw(value, page.parent / found["file"])
            if not found["text"]:
                return found[0]
            lines = "\n".join(line.rstrip() for line in printed.getvalue().rstrip().splitlines())
            return f"```python\n{found['code']}```\n\n```text\n{lines}\n```\n"

        page.write_text(BLOCK.sub(again, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
