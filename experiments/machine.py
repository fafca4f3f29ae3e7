"""What every benchmark says of itself: the machine, the day, the versions, and numbers to read."""

import datetime
import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from throughtime.points import InputError

BLAS_THREADS = 1
"""Threads of the OpenBLAS of NumPy, and of that of JAX, beside the measurements' peers."""


def limit_blas() -> None:
    """Give both OpenBLAS so many threads, which they read when they are loaded.

    A matrix of a network is too small for more; where others use the cores, two threads that wait
    for each other take a hundred times as long.
    """
    if "numpy" in sys.modules:
        raise RuntimeError("NumPy was imported before its threads were limited.")
    os.environ["OPENBLAS_NUM_THREADS"] = str(BLAS_THREADS)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of the peers, all of which must be there."""
    try:
        return {package: version(package) for package in packages}
    except PackageNotFoundError as error:
        raise InputError(f"{error.name} is not installed: pip install -e .[peers]") from error


def here() -> dict[str, Any]:
    """The machine and the day."""
    from throughtime.devices import usable_cores

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"cpu": model, "cores": usable_cores(), "memory_gib": round(memory, 1), "date": day}


def texts(row: dict[str, Any], columns: Iterable[str]) -> dict[str, str]:
    """The cells of a row to read; what is missing is left out."""
    return {name: _text(row[name]) for name in columns if row.get(name) is not None}


def _text(value: Any) -> str:
    """Three digits, or all of those before the point."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def publish(
    rows: list[dict[str, Any]],
    columns: Iterable[str],
    caption: str,
    machine: dict[str, Any],
    stem: Path,
) -> None:
    """Write stem.csv with the provenance in every row, and stem.md to read."""
    import pandas as pd

    stem.parent.mkdir(parents=True, exist_ok=True)
    written = [stem.with_suffix(suffix) for suffix in (".csv", ".md")]
    frame = pd.DataFrame(rows, columns=list(columns)).assign(**machine)
    frame.to_csv(written[0], index=False, lineterminator="\n")
    table = pd.DataFrame([texts(row, columns) for row in rows], columns=list(columns)).fillna("")
    source = ", ".join(f"{name} {value}" for name, value in machine.items())
    parts = [caption, table.to_markdown(index=False, disable_numparse=True), f"Made with {source}."]
    written[1].write_text("\n".join(f"{part}\n" for part in parts))
    print("written: " + ", ".join(map(str, written)))
