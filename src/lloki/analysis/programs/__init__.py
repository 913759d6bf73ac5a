"""Gene programs: metagenes that slices share, and how they go together in space (SpiceMix)."""

from lloki.analysis.programs.config import ProgramConfig, ProgramOptions
from lloki.analysis.programs.fit import fit_programs
from lloki.analysis.programs.result import Programs

__all__ = ["ProgramConfig", "ProgramOptions", "Programs", "fit_programs"]
