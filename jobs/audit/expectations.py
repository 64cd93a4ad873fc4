"""Great Expectations over exactly the files that would be published.

The files are read as the release names them, not as a folder lists them, and each table is validated whole: all its
files in one frame, or, above ``ROWS_AT_ONCE``, in frames that never part what has the same time, so that a row that is
there twice is seen wherever its copies lie.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.audit.suites import FOLDER, Suite, suite
from quotaloop.errors import CheckRefused, InputUnreadable, ServiceUnreachable
from quotaloop.storage.store import Store

CHECK = "expectations"
ROWS_AT_ONCE = 2_000_000
NEEDED = ("great_expectations", "grpc", "grpc_status", "google.rpc")  # one missing: its import ends the interpreter

_DAY = re.compile(r"/date=([0-9]{4}-[0-9]{2}-[0-9]{2})/")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check said of one table; ``failures`` are lines fit for a terminal, none if it is a success."""

    check: str
    table: str
    success: bool
    evaluated: int
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Extent:
    """A file's rows, and the least and greatest value of the first column of its grain, where the footer has them."""

    path: str
    rows: int
    least: Any
    greatest: Any


def check_files(store: Store, files: Mapping[str, Sequence[str]]) -> list[Verdict]:
    """One verdict for each table that has files; paths are relative to the store.

    Raises ``InputUnreadable`` with the name of a file that is not whole Parquet, ``UsageError`` for an unknown table,
    and ``ServiceUnreachable`` where Great Expectations is not installed.
    """
    suites = {name: suite(name) for name, paths in files.items() if paths}
    if not suites:
        return []
    _installed()
    with _quiet():
        return [_verdict(store, suites[name], files[name]) for name in suites]


def _installed() -> None:
    for module in NEEDED:
        try:
            found = find_spec(module) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise ServiceUnreachable(
                f"the audit needs {module}, which is not installed: pip install 'quotaloop[audit]'"
            )


def _verdict(store: Store, wanted: Suite, paths: Sequence[str]) -> Verdict:
    with ExitStack() as stack:
        try:
            copies = stack.enter_context(store.all_on_disk(paths))
        except FileNotFoundError as error:
            raise InputUnreadable(f"{error.args[0]} is gone; build the day again") from error
        return _judged(dict(zip(paths, copies, strict=True)), wanted)


def _judged(copies: Mapping[str, Path], wanted: Suite) -> Verdict:
    name = wanted.table.name
    failures: list[str] = []
    extents = []
    for path in copies:
        extent, difference = _inspect(copies, wanted, path)
        if difference:
            failures.append(f"{name}: the columns of {path} are not the declared ones: {difference}")
        else:
            extents.append(extent)
    evaluated, counts = 0, dict[str, _Count]()
    if sum(extent.rows for extent in extents):
        for batch in _batches(extents):
            results = _validate(wanted, _frame(copies, wanted, [extent.path for extent in batch]))
            evaluated = len(results)
            _add(counts, results)
    elif not failures:
        failures.append(f"{name}: nothing was evaluated: {len(copies)} files without a row")
    failures += [f"{name}: {rule} {count}" for rule, count in counts.items() if count.bad or count.trouble]
    return Verdict(CHECK, name, not failures and evaluated > 0, evaluated, tuple(failures))


def _inspect(copies: Mapping[str, Path], wanted: Suite, path: str) -> tuple[_Extent, str]:
    """A file's extent, and how its columns differ from the declared ones (nothing if they do not)."""
    with _readable(path), pq.ParquetFile(copies[path]) as parquet:
        metadata, schema = parquet.metadata, parquet.schema_arrow
        difference = _difference(schema, wanted.table.schema)
        if difference:
            return _Extent(path, metadata.num_rows, None, None), difference
        position = metadata.schema.names.index(wanted.table.columns[0].name)
        groups = [metadata.row_group(number).column(position).statistics for number in range(metadata.num_row_groups)]
    known = bool(groups) and all(group is not None and group.has_min_max for group in groups)
    least = min(group.min for group in groups) if known else None
    greatest = max(group.max for group in groups) if known else None
    return _Extent(path, metadata.num_rows, least, greatest), ""


def _difference(schema: pa.Schema, declared: pa.Schema) -> str:
    if schema.names != declared.names:
        missing = [name for name in declared.names if name not in schema.names]
        extra = [name for name in schema.names if name not in declared.names]
        return (
            "; ".join([f"{name} is missing" for name in missing] + [f"{name!r} is not declared" for name in extra])
            or "their order differs"
        )
    return "; ".join(
        f"{there.name} is {there.type}, not {wanted.type}"
        for there, wanted in zip(schema, declared, strict=True)
        if _plain(there.type) != _plain(wanted.type)
    )


def _plain(kind: pa.DataType) -> Any:
    """Types as readers see them: writers name the parts of a map differently."""
    return ("map", kind.key_type, kind.item_type) if pa.types.is_map(kind) else kind


def _batches(extents: Sequence[_Extent]) -> Iterator[list[_Extent]]:
    """Files in groups of about ``ROWS_AT_ONCE`` rows; times of two groups do not overlap."""
    filled = [extent for extent in extents if extent.rows]
    if any(extent.least is None for extent in filled):
        yield filled
        return
    batch: list[_Extent] = []
    for extent in sorted(filled, key=lambda extent: extent.least):
        rows = sum(one.rows for one in batch) + extent.rows
        if batch and rows > ROWS_AT_ONCE and extent.least > max(one.greatest for one in batch):
            yield batch
            batch = []
        batch.append(extent)
    yield batch


def _frame(copies: Mapping[str, Path], wanted: Suite, paths: Sequence[str]) -> pd.DataFrame:
    """The rows of some files with a column for each row rule."""
    parts = []
    for path in paths:
        with _readable(path), pq.ParquetFile(copies[path]) as parquet:
            part = parquet.read().replace_schema_metadata(None)
            part.validate(full=True)
        day = _DAY.search(f"/{path}")
        moment = pd.to_datetime(day[1], format="%Y-%m-%d", errors="coerce") if day else pd.NaT
        parts.append(part.append_column(FOLDER, _repeated(moment, part.num_rows)))
    rows = pa.concat_tables(parts, promote_options="permissive")
    exact = {pa.int64(): pd.Int64Dtype()} if any(column.nullable for column in wanted.table.columns) else {}
    frame = rows.to_pandas(types_mapper=exact.get, date_as_object=False)
    held = {rule.sentence: rule.holds(frame).astype("boolean").fillna(False).astype(bool) for rule in wanted.rules}
    return pd.DataFrame({**frame.drop(columns=FOLDER), **held})


def _repeated(moment: Any, times: int) -> pa.Array:
    value = None if moment is pd.NaT else datetime.fromisoformat(str(moment))
    return pa.repeat(pa.scalar(value, pa.timestamp("ms")), times)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputUnreadable(f"{path} cannot be read as Parquet: {reason}; build the day again") from error


@dataclass(slots=True)
class _Count:
    """Rows that break one expectation; ``trouble`` where it could not count them."""

    bad: int = 0
    rows: int = 0
    trouble: str = ""

    def __str__(self) -> str:
        return self.trouble or f"fails for {self.bad} of {self.rows} rows"


def _validate(wanted: Suite, frame: pd.DataFrame) -> list[Any]:
    """Results of all expectations of a suite; raises ``CheckRefused`` if not each one was evaluated."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    in_memory, silent = InMemoryStoreBackendDefaults(init_temp_docs_sites=False), ProgressBarsConfig(globally=False)
    configuration = DataContextConfig(store_backend_defaults=in_memory, progress_bars=silent, analytics_enabled=False)
    context = gx.get_context(mode="ephemeral", project_config=configuration)
    asset = context.data_sources.add_pandas("files").add_dataframe_asset(wanted.table.name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    expectations = []
    for one in wanted.expected:
        condition = {"row_condition": one.where, "condition_parser": "pandas"} if one.where else {}
        declared = ExpectationConfiguration(one.type, one.arguments | condition, meta={"rule": str(one)})
        expectations.append(declared.to_domain_obj())
    expected = gx.ExpectationSuite(wanted.table.name, expectations=expectations)
    outcome = batch.validate(expected, result_format={"result_format": "BASIC", "partial_unexpected_count": 0})
    if not outcome.results or len(outcome.results) != len(wanted.expected):
        found = f"{len(outcome.results)} of {len(wanted.expected)} expectations were evaluated"
        raise CheckRefused(f"{wanted.table.name}: {found}; nothing was released")
    return list(outcome.results)


def _add(counts: dict[str, _Count], results: Sequence[Any]) -> None:
    """Add up what failed, by rule; rows of batches in which a rule held count as well."""
    for one in results:
        count = counts.setdefault(one.expectation_config.meta["rule"], _Count())
        count.rows += one.result.get("element_count") or 0
        count.bad += one.result.get("unexpected_count") or 0
        if not one.success and not one.result.get("unexpected_count"):
            count.trouble = f"fails: {_cause(one)}"


def _cause(result: Any) -> str:
    """In one line: what was raised, by one metric or several, or what was there instead."""
    told = result.exception_info or {}
    raised = [told] if "exception_message" in told else [one for one in told.values() if isinstance(one, dict)]
    messages = dict.fromkeys(str(one["exception_message"]) for one in raised if one.get("exception_message"))
    return " ".join("; ".join(messages or [f"found {result.result.get('observed_value')}"]).split())


@contextmanager
def _quiet() -> Iterator[None]:
    """No telemetry, also of versions that still had it, and no log lines or warnings of others on our output."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logger, silence = logging.getLogger("great_expectations"), logging.NullHandler()
    spread = logger.propagate
    logger.propagate = False  # its children have levels of their own, so that setting one here would not do
    logger.addHandler(silence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(silence)
        logger.propagate = spread
