"""Pages: a template, what it shows, one self-contained file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from lloki.io.writing import atomic
from lloki.pl._viewer import Viewer, policy, style, theme
from lloki.report import words


def write_page(template: str, out: str | Path, *, viewer: Viewer | None = None, **content: Any) -> Path:
    """Fill a template and write the page, whole or not at all.

    Everything in ``content`` is escaped but what is marked as markup, such as the SVG of figures. The page's
    policy forbids every request and every script, but that of the viewer, if there is one.

    Raises
    ------
    OutputError
        If the page cannot be written there; what was there before stays.
    """
    environment = Environment(
        loader=PackageLoader("lloki.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": words.number, "seconds": words.seconds, "listed": words.listed}
    content |= {"viewer": viewer, "theme": theme(), "viewer_style": style()}
    content["policy"] = policy(scripts=viewer is not None)
    page, path = environment.get_template(template).render(content), Path(out).expanduser()
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
