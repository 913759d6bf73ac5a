"""Gene programs: metagenes that slices share, and how they go together in space (SpiceMix)."""

from lloki.analysis.programs.config import ProgramConfig
from lloki.analysis.programs.fit import fit_programs
from lloki.analysis.programs.result import Programs

__all__ = ["ProgramConfig", "Programs", "fit_programs"]
