"""The run store: every finished network in one SQLite file."""
