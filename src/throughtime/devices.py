"""The devices of this process: which, how many, at what precision, and what memory is free.

Everything here is set once, before JAX makes its first array: Hydra's own launchers run many jobs
in one process, and global state would leak from one into the next.
"""

import functools
import hashlib
import os
import platform
from pathlib import Path
from typing import NamedTuple

from throughtime import settings
from throughtime.names import unknown
from throughtime.points import InputError

PLATFORMS = {"auto": None, "cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}
"""What JAX is asked for; the CPU is always among them, since it draws the weights."""


class Hosts(NamedTuple):
    """The processes that share a sweep through `jax.distributed`.

    Attributes:
        coordinator: ``host:port`` of process 0; ``auto`` where SLURM, MPI or a TPU pod tells all.
        num_processes: how many there are; not used with ``auto``.
        process_id: which one this is, from 0; not used with ``auto``.
    """

    coordinator: str | None
    num_processes: int | None = None
    process_id: int | None = None


def start(device: str = "auto", hosts: Hosts | None = None) -> None:
    """Choose the platform and the number of devices, once for the process; pin JAX's settings.

    A CPU counts as one device for each core that the process may use, so that a sharded program
    keeps all of them busy; the environment variable ``JAX_NUM_CPU_DEVICES`` says otherwise.

    Args:
        device: auto, cpu, gpu or tpu.
        hosts: of a sweep over several machines.

    Raises:
        InputError: if there is no such device, or the other hosts do not answer.
    """
    _started(device, hosts)
    settings.pin()  # each time: something else in the process may have set them meanwhile


@functools.cache
def _started(device: str, hosts: Hosts | None) -> None:
    """The devices, found once."""
    if device not in PLATFORMS:
        raise InputError(unknown("device", device, PLATFORMS))
    if PLATFORMS[device] is not None:
        os.environ["JAX_PLATFORMS"] = PLATFORMS[device]
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(usable_cores()))
    # LAPACK's threads wait for each other in a loop: on a busy machine they take 100 times as long.
    # With another number of them it also splits sums elsewhere. It must be said before NumPy loads.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import jax

    _keep_compiled(jax)
    try:
        if hosts is not None:
            jax.distributed.initialize(*_addresses(hosts))
        jax.devices()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"device={device} is not available: {reason}.") from error


def kind() -> str:
    """The kind of device that measures, in its maker's words.

    Returns:
        Such as ``cpu`` or ``NVIDIA H100``.
    """
    import jax

    return jax.local_devices()[0].device_kind


def usable_cores() -> int:
    """The cores that this process may use: SLURM's share of them, or the scheduler's.

    Returns:
        At least 1.
    """
    if "SLURM_CPUS_PER_TASK" in os.environ:
        return int(os.environ["SLURM_CPUS_PER_TASK"])
    return _allowed_cores()


def _allowed_cores() -> int:
    """The cores that the scheduler lets this process use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def summing_threads() -> int:
    """The threads among which XLA splits a sum of very many numbers on a CPU.

    Returns:
        At least 1: the cores, which ``NPROC`` overrules, or as many as there are devices.
    """
    asked = os.environ.get("NPROC", ""), os.environ.get("JAX_NUM_CPU_DEVICES", "")
    threads, devices = (int(number) if number.isdigit() else 0 for number in asked)
    return max(threads or _allowed_cores(), devices)


def memory_free() -> int:
    """The memory that is free on one of the devices that measure.

    Returns:
        Bytes: of the accelerator where it tells, else an equal share of the machine's.
    """
    import jax
    import psutil

    told = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in told:
        return told["bytes_limit"] - told["bytes_in_use"]
    return psutil.virtual_memory().available // jax.local_device_count()


def _addresses(hosts: Hosts) -> tuple:
    """What `jax.distributed.initialize` is called with; nothing where it finds out itself."""
    return () if hosts.coordinator == "auto" else tuple(hosts)


def _keep_compiled(jax) -> None:
    """Keep compiled programs for the next process: it saves time, and nothing depends on it."""
    if jax.config.jax_compilation_cache_dir is not None:  # the user's own choice
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "throughtime"
    try:
        folder = folder / _machine_kind()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no place to keep them, or no home
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _machine_kind() -> str:
    """A name for machines that can run the same compiled code: never shared with another kind."""
    return f"{platform.system()}-{platform.machine()}-{instruction_set()}".lower()


@functools.cache
def instruction_set() -> str:
    """A name for what the CPU can do, which decides how sums are split, and so their last bits.

    Returns:
        8 hexadecimal digits, the same for the same features.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    return hashlib.sha256(features.encode()).hexdigest()[:8]
