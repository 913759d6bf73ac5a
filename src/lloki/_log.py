"""The package's one logger. The command line attaches a handler; a library import never does."""

from __future__ import annotations

import logging

logger = logging.getLogger("lloki")
