"""A run: the order of the stages, what is already done, and where the rest is computed."""

from __future__ import annotations

from lloki.run.config import RunConfig
from lloki.run.integrate import integrate
from lloki.run.plan import Plan, plan
from lloki.run.project import project
from lloki.run.project_reference import project_reference
from lloki.run.result import Result

__all__ = ["Plan", "Result", "RunConfig", "integrate", "plan", "project", "project_reference"]
