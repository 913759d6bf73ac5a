"""A run: the order of the stages, what is already done, and where the rest is computed."""

from __future__ import annotations

from lloki.run._integrate import integrate
from lloki.run._plan import Plan, plan
from lloki.run._project import project
from lloki.run._project_reference import project_reference
from lloki.run.config import RunConfig
from lloki.run.result import Result

__all__ = ["Plan", "Result", "RunConfig", "integrate", "plan", "project", "project_reference"]
