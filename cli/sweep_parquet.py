"""Sweeps in Parquet: row groups that are written as they come, and a record in the footer."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..costmodel import InvalidInput, MissingExtra
from .sweep_block import Block
from .sweep_grid import Column, Kind

_KEY = b"tokencost"
#: Rows of a row group: some tens of columns of so many values stay below a hundred megabytes.
GROUP = 131_072


def check_installed() -> None:
    """Import pyarrow.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingExtra("pyarrow", "parquet") from None


def found(path: Path) -> tuple[str, int]:
    """Return fingerprint and rows of a file.

    Raises:
        InvalidInput: It is no Parquet file, or no sweep made it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    way_out = "remove it to begin anew, or name another file"
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        problem = "is not a whole Parquet file"
        raise InvalidInput("--output", str(path), problem, way_out) from None
    try:
        fingerprint = json.loads((metadata.metadata or {})[_KEY])["fingerprint"]
    except (ValueError, KeyError, TypeError):
        problem = "has no record of a sweep"
        raise InvalidInput("--output", str(path), problem, way_out) from None
    return str(fingerprint), metadata.num_rows


class ParquetFile:
    """A file beside the one that is asked for, which it replaces when it is closed."""

    def __init__(self, path: Path, columns: Sequence[Column], record: str, present: int) -> None:
        """Begin a file; of one that is gone on with, take over the rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {
            "text": pa.string(),
            "count": pa.int64(),
            "total": pa.float64(),
            "number": pa.float64(),
        }
        self._path, self._columns = path.resolve(), columns
        fields = [pa.field(column.name, types[column.kind]) for column in columns]
        self._schema = pa.schema(fields, metadata={_KEY: record.encode()})
        repeated = [
            column.name
            for column in columns
            if column.kind in ("text", "count")
            or "baseline" in column.name
            or column.name.startswith("keep_")
        ]
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=self._path.parent)
        os.close(handle)
        self._part = Path(name)
        try:
            self._writer = pq.ParquetWriter(
                name, self._schema, compression="snappy", use_dictionary=repeated
            )
            if present:
                with pq.ParquetFile(self._path) as before:
                    for batch in before.iter_batches(GROUP):
                        self._writer.write_batch(batch.cast(self._schema), GROUP)
        except BaseException:
            self._part.unlink(missing_ok=True)
            raise
        self._waiting: list[Any] = []
        self._shared: dict[str, tuple[Any, Any]] = {}
        self._rows = 0

    def write(self, block: Block) -> None:
        """Add rows; they are written when a row group is full."""
        import pyarrow as pa

        arrays = [
            self._array(block, column, field.type)
            for column, field in zip(self._columns, self._schema, strict=True)
        ]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows += block.rows
        if self._rows >= GROUP:
            self._flush()

    def _array(self, block: Block, column: Column, kind: Any) -> Any:
        """Return a column of a block; one that all rows share is made once for many blocks."""
        import pyarrow as pa

        value = block.values.get(column.name)
        if hasattr(value, "dtype"):
            return pa.array(value, kind)
        if isinstance(value, list):
            return pa.array([_fitting(one, column.kind) for one in value], kind)
        known, made = self._shared.get(column.name, (None, None))
        if made is None or known != value or len(made) < block.rows:
            scalar = pa.scalar(_fitting(value, column.kind), kind)
            made = pa.repeat(scalar, block.rows)
            self._shared[column.name] = (value, made)
        return made.slice(0, block.rows)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting, schema=self._schema)
            self._writer.write_table(table, GROUP)
        self._waiting, self._rows = [], 0

    def close(self) -> None:
        """Write the footer, and put the file into its place."""
        try:
            self._flush()
            self._writer.close()
            mode = self._path.stat().st_mode & 0o777 if self._path.exists() else 0o666 & ~_umask()
            self._part.chmod(mode)
            self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)


def _fitting(value: Any, kind: Kind) -> Any:
    """Return a total as the nearest float, which below 2⁵³ is the total itself."""
    return float(value) if kind == "total" and value is not None else value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
