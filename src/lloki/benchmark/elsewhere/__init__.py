"""Scripts for the Python of other environments: run by path, apart from modules whose names theirs share."""
