"""How did a run go? One CSV row every few steps, kept in step with the checkpoint."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from app.errors import InsufficientStorage
from workers.training.checkpoints import replace_file

STEP = "step"


class History:
    """
    A CSV file that rows are appended to.

    A run that goes on from a checkpoint writes the rows after it anew; those that are there, and a
    last line that was cut off, are dropped when the file is opened.

    Args:
        path: need not exist.
        step: rows up to this one are kept.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self._path = path
        self._columns: list[str] = []
        kept = [row for row in read_history(path) if row[STEP] <= step]
        if kept:
            self._columns = list(kept[0])
        if path.exists():
            self._replace(kept)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """
        Append a row. The first row says which columns there are.

        Raises:
            ValueError: the row has a column that the first has not.
            InsufficientStorage: it cannot be written.
        """
        row = {STEP: step, **values}
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns or list(row), lineterminator="\n")
        if not self._columns:
            self._columns = list(row)
            writer.writeheader()
        writer.writerow({name: _spelt(value) for name, value in row.items()})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text.getvalue())
        except OSError as error:
            raise InsufficientStorage(
                f"cannot write {self._path}: {error}; make room and run the same command again, "
                "which goes on from the last checkpoint"
            ) from error

    def _replace(self, rows: list[dict[str, float]]) -> None:
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, self._columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: _spelt(v) for k, v in row.items()} for row in rows)
        replace_file(self._path, text.getvalue().encode())


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of a history, first to last; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in file if line.endswith("\n")]  # the last may be cut off
    return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]


def _spelt(value: float) -> str:
    """Spell a number with as many digits as tell two runs apart, and no more."""
    return f"{value:.9g}"
