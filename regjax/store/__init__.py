"""The run store, every finished network in one SQLite file; and the files of models."""
