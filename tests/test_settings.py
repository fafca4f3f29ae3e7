"""Settings of the process: each is pinned, or told by the origin, or changes no number."""

import ctypes
import json
import os
import platform
import subprocess
import sys

import jax
import numpy as np
import pytest
from commands import SWEEP
from trained import BASE, bits, point, train

from throughtime import crews, programs, provenance, settings
from throughtime.draws import alike, random_key
from throughtime.learned import Run
from throughtime.records import latest_run, load_run

OTHERWISE = {
    "jax_default_matmul_precision": "bfloat16",
    "jax_default_prng_impl": "rbg",
    "jax_optimization_level": "O0",
    "jax_memory_fitting_level": "O0",
}
"""Another value of each setting of `PINNED` that is a name; of the others it is found."""

DRAWN_OTHERWISE = {
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 3,
}

NO_ARITHMETIC = (
    "check", "debug", "log", "dump", "trace", "cache", "guard", "leak", "proxy", "timeout",
    "visible_devices", "location", "recoverability", "preemption", "collectives", "async_dispatch",
    "transfer", "num_cpu_devices", "mock", "jax2tf", "export", "pallas", "mosaic", "color",
    "serialization", "distributed", "share_binary", "no_execution", "legacy_prng_key", "pjrt",
    "dtype_promotion", "rank_promotion", "x64_dtypes", "default_device", "platform", "backend",
    "shardy", "mesh", "pgle", "ragged_dot", "sparse", "magma", "threefry_gpu", "pcast", "thread",
    "sort_devices", "error_checking", "captured_constants", "refs", "custom_partitioning",
    "emit_pipeline", "no_tracing", "cross_host", "runtime_errors", "source_file",
    "source_url", "vmap_shmap", "vma", "mutable_array",
)  # fmt: skip
"""Parts of the names of settings of JAX that say what is printed, kept, refused or where it runs,
or concern operations that are used nowhere here."""


def otherwise(name):
    value = settings.PINNED[name]
    if name in OTHERWISE:
        return OTHERWISE[name]
    return not value if isinstance(value, bool) else value + 1


@pytest.fixture
def jax_is():
    """A function that sets settings of JAX, which are set back."""
    before = {name: now(name) for name in settings.PINNED if name in jax.config.values}

    def change(name, value):
        jax.config.update(name, value)

    yield change
    for name, value in before.items():
        jax.config.update(name, value)


def now(name):
    """What JAX is set to; flags that it only reads when it compiles are no attributes."""
    return getattr(jax.config, name) if hasattr(jax.config, name) else jax.config.read(name)


def drawn():
    """What a sweep and a training draw: networks, batches, and keys of data; traced anew."""
    key = programs.program_key(BASE)
    programs._network_source.cache_clear()
    programs._batch_source.cache_clear()
    with alike():
        networks = programs.network_source(key)(np.array([[3]], np.uint32), np.array([1.0]))
        batches = programs.batch_source(key)(np.array([5], np.uint32), np.array([6], np.int32))
    keys = jax.tree.map(jax.random.key_data, crews._data_keys([Run(BASE, 1)]))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((networks, batches, keys))]


def test_nothing_that_is_drawn_depends_on_settings(jax_is):
    expected = drawn()
    plain = np.asarray(jax.random.normal(jax.random.key(5), (3,)))
    for name, value in DRAWN_OTHERWISE.items():
        before = now(name)
        jax_is(name, value)
        assert drawn() == expected, name
        assert not np.array_equal(jax.random.normal(jax.random.key(5), (3,)), plain), name
        jax_is(name, before)


@pytest.mark.slow
def test_noise_and_dropout_of_a_training_do_not_depend_on_settings(jax_is):
    def trained_anew():
        for cached in (programs._network_source, crews.training_program, crews.on_device):
            cached.cache_clear()
        return bits(train(point(num_seeds=1, updates=2))[0])

    expected = trained_anew()
    for name, value in DRAWN_OTHERWISE.items():
        jax_is(name, value)
    assert trained_anew() == expected


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_a_key_is_the_one_that_jax_makes_by_default(seed):
    expected = jax.random.key(seed, impl="threefry2x32")
    for given in (seed, jax.numpy.uint32(seed)):
        found = random_key(given)
        assert found.dtype == expected.dtype
        assert np.array_equal(jax.random.key_data(found), jax.random.key_data(expected))


@pytest.mark.parametrize("name", settings.PINNED)
def test_a_command_pins_every_setting(jax_is, name):
    if name not in jax.config.values:
        pytest.skip("this version of JAX has no such setting")
    settings.pin()
    jax_is(name, otherwise(name))
    assert now(name) == otherwise(name)
    settings.pin()
    assert now(name) == settings.PINNED[name]


def test_every_setting_of_jax_is_pinned_or_has_nothing_to_do_with_arithmetic():
    said = {name for names in settings.HARMLESS for name in names.split(", ")}
    unknown = set(jax.config.values) - set(settings.PINNED) - said
    assert {name for name in unknown if not any(part in name for part in NO_ARITHMETIC)} == set()


def measured(folder, environment):
    """The record of a training in a process of its own."""
    folder.mkdir()
    own = {"XDG_CACHE_HOME": str(folder), "JAX_PLATFORMS": "cpu"}
    sizes = ["hidden_features=2", "batch_size=2", "num_seeds=1", "sequence_length=4"]
    sizes += ["task=noise", "cell.initializer=orthogonal", "mitigation=[]"]
    command = [sys.executable, SWEEP, *sizes]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | own | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    runs = folder / "results" / "sweep" / "runs"
    return load_run(runs, latest_run(runs))[0][0]


@pytest.mark.slow
def test_the_numbers_are_the_same_with_every_pinned_and_harmless_setting_changed(tmp_path):
    names = [name for name in settings.PINNED if not name.endswith("_level")]  # JAX breaks on these
    changed = {name.upper(): str(otherwise(name)) for name in names}
    changed |= {"OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "5"}
    changed |= {"JAX_NUM_CPU_DEVICES": "3", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    changed |= {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_LEGACY_PRNG_KEY": "error"}
    changed |= {"JAX_THREEFRY_GPU_KERNEL_LOWERING": "1"}
    plain, strange = measured(tmp_path / "a", {}), measured(tmp_path / "b", changed)
    assert strange["curves"].tobytes() == plain["curves"].tobytes()
    assert strange["each"] == plain["each"]
    assert provenance.differences(strange["origin"], plain["origin"]) == []


@pytest.mark.parametrize("name", settings.RECORDED)
def test_the_origin_tells_what_acts_before_a_command(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    before = provenance.provenance("cpu")
    monkeypatch.setenv(name, "--xla_cpu_max_isa=AVX2")
    after = provenance.provenance("cpu")
    (phrase,) = provenance.differences(after, before)
    assert phrase.startswith("environment ")
    assert f"{name}=--xla_cpu_max_isa=AVX2" in phrase


def test_flags_are_the_same_in_any_order_and_without_what_changes_no_number(monkeypatch, tmp_path):
    def of(flags):
        monkeypatch.setenv("XLA_FLAGS", flags)
        return settings.environment()

    assert of("--b=1  --a=2") == of("--a=2 --b=1") == "XLA_FLAGS=--a=2 --b=1"
    assert of("--xla_dump_to=x --a=2 --xla_force_host_platform_device_count=4") == of("--a=2")
    assert of(" ") == of("--xla_dump_to=x") == "none"
    (tmp_path / "flags").write_text("--b=1\n--a=2\n")
    assert of(str(tmp_path / "flags")) == of("--a=2 --b=1")


class Environment(ctypes.Structure):
    """``fenv_t`` of x86-64: the state of the x87, then MXCSR."""

    _fields_ = [("x87", ctypes.c_char * 28), ("mxcsr", ctypes.c_uint32)]


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="other registers"
)
def test_the_origin_tells_that_subnormal_numbers_are_flushed(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    library, state = ctypes.CDLL("libm.so.6"), Environment()
    library.fegetenv(ctypes.byref(state))
    usual, flushing = state.mxcsr, state.mxcsr | 0x8040
    assert settings.environment() == "none"
    try:
        state.mxcsr = flushing
        library.fesetenv(ctypes.byref(state))
        assert settings.environment() == "subnormals=flushed"
    finally:
        state.mxcsr = usual
        library.fesetenv(ctypes.byref(state))
    assert settings.environment() == "none"


@pytest.mark.parametrize("package", provenance.PACKAGES)
def test_another_version_of_what_computes_is_another_origin(package):
    origin = provenance.provenance("cpu")
    assert provenance.differences(origin | {package: "0"}, origin) == [
        f"{package} 0 instead of {origin[package]}"
    ]


@pytest.mark.parametrize("name", [*provenance.BYSTANDERS, *settings.NOT_COMPARED])
def test_what_only_stands_by_is_said_and_not_compared(name):
    origin = provenance.provenance("cpu")
    assert origin[name] not in (None, "")
    assert provenance.differences(origin | {name: "0"}, origin) == []


def test_the_threads_that_share_a_sum_are_those_of_xla(monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    for asked, number in (("1", 1), ("3", 3)):
        monkeypatch.setenv("NPROC", asked)
        assert provenance.provenance("cpu")["summing_threads"] == number
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "5")
    assert provenance.provenance("cpu")["summing_threads"] == 5


def test_what_an_old_record_does_not_say_does_not_differ():
    origin = provenance.provenance("cpu")
    new = {"optax", "scipy", "environment", *settings.NOT_COMPARED, *provenance.BYSTANDERS}
    old = {name: value for name, value in json.loads(json.dumps(origin)).items() if name not in new}
    assert provenance.differences(origin, old) == provenance.differences(old, origin) == []
