"""Results in the files that other programs open; :func:`lloki.io.export` is the way in."""

from lloki.export.formats import FORMATS, export

__all__ = ["FORMATS", "export"]
