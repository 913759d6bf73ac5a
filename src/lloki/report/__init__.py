"""What people look at: figures and the HTML report."""

from __future__ import annotations

from lloki.report.html import build_report

__all__ = ["build_report"]
