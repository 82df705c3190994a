"""The tables: a new file has those that are asked for, in the order that checksums take."""

import re

from regjax.store.database import Database
from regjax.store.schema import APPLICATION_ID, ROW_COLUMNS, SCHEMA_VERSION, TABLES


def test_a_new_store_has_the_tables(tmp_path):
    with Database(tmp_path / "s.sqlite") as store:
        made = {name for (name,) in store.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert made - {"sqlite_sequence"} == TABLES
        columns = [name for _, name, *_ in store.query("PRAGMA table_info(rows)")]
        assert columns == [*ROW_COLUMNS, "checksum"]
        assert store.query("PRAGMA user_version") == [(SCHEMA_VERSION,)]
        assert store.query("PRAGMA application_id") == [(APPLICATION_ID,)]
        assert store.query("PRAGMA journal_mode") == [("wal",)]
        assert store.query("SELECT * FROM results") == []


def test_the_document_names_every_table():
    from pathlib import Path

    import regjax

    page = (Path(regjax.__file__).parents[1] / "docs" / "store.md").read_text()
    (table,) = re.findall(r"## Tables\n\n(.*?)\n\n", page, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))) == {
        *TABLES,
        "results",
    }
