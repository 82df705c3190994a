"""A question and its answer as values: nothing is trained, written or printed here."""
