"""Any list of overrides: no traceback, and an exit code that says what was measured."""

import itertools
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from commands import SWEEP, of_this_process, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from throughtime.records import read_lines

TINY = ["hidden_features=4", "batch_size=2", "num_seeds=2"]
DEFAULTS = {"cell": "elman", "recurrent_scale": 1.0, "sequence_length": 50, "data_seed": 0}

Answer = namedtuple("Answer", "code out err points files")


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(tmp_path_factory):
    with of_this_process(tmp_path_factory.mktemp("cache")):
        yield


def ask(*arguments):
    """Run the command in this process, in a folder of its own with room above it."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "of", "the", "user")
        folder.mkdir(parents=True)
        said = run([SWEEP, *arguments], folder, warned="ignore")  # Hydra's own
        files = [path for path in Path(root).rglob("*") if path.is_file()]
        return Answer(*said, recorded(files), {path.name for path in files})


def recorded(files):
    """The points in all ledgers, as the values of the keys of `DEFAULTS`."""
    ledgers = [path for path in files if path.name == "records.jsonl"]
    rows = [line.decode()["shared"] for path in ledgers for line in read_lines(path)]
    return sorted(tuple(row[key] for key in DEFAULTS) for row in rows)


def check(answer):
    """Whatever was asked: the exit code, the words and the records tell the same story."""
    assert "Traceback" not in answer.out + answer.err
    if answer.code == 2:
        assert answer.err.count("error: ") == 1
        sentence = answer.err.partition("error: ")[2].rstrip("\n")
        assert "\n" not in sentence or " points can run.\n" in sentence
        assert sentence.strip(". ")
        assert answer.out == ""
        assert answer.points == []
    else:
        assert answer.code in (0, 1)
        assert answer.points
        assert "error" not in answer.err.lower()
        assert ("failures.csv" in answer.files) == answer.code
        assert (" points cannot run:\n" in answer.err) == answer.code
    return answer


Override = namedtuple("Override", "text key values code is_sweep", defaults=(0, False))
"""An override of known effect: the good values that it gives a key, and its exit code."""


def sets(key, texts, **effect):
    return [Override(f"{key}={text}", key, values, **effect) for text, values in texts.items()]


GOOD = [
    *sets("cell", {"gru": ["gru"], "[gru]": ["gru"], "elman": ["elman"], "'gru'": ["gru"]}),
    *sets("recurrent_scale", {"0.5": [0.5], "1e-3": [1e-3], "3": [3.0], "float(2)": [2.0]}),
    *sets("recurrent_scale", {"${seed}": [0.0], "1000000": [1e6]}),
    *sets("sequence_length", {"2": [2], "64": [64], "int(3.0)": [3], "${hidden_features}": [4]}),
    *sets("data_seed", {"7": [7], "2147483647": [2**31 - 1]}),
    Override("++data_seed=3", "data_seed", [3]),
    *sets("name", {name: [] for name in ("a", "a/b", "a b", "'ü, ☃'", "3", "a-b_c.d", "x" * 200)}),
    *sets("device", {"cpu": [], "auto": []}),
    *sets("other_records", {"keep": [], "renew": [], "refuse": []}),
    *sets("task", {"radar": [], "{name:radar}": []}),
    *sets("hydra.job.chdir", {"true": [], "false": []}),
]
SWEEPS = [
    *sets("cell", {"gru,elman": ["gru", "elman"], "glob(gr*)": ["gru"]}),
    *sets("cell", {"shuffle(elman,gru)": ["gru", "elman"], "gru,[gru]": ["gru"]}),
    *sets("recurrent_scale", {"1,2": [1.0, 2.0], "range(1,3)": [1.0, 2.0], "1,1.0": [1.0]}),
    *sets("recurrent_scale", {"sort(2,1)": [1.0, 2.0], "linspace(0,1,3)": [0.0, 0.5, 1.0]}),
    *sets("recurrent_scale", {"logspace(0.1,10,3)": [0.1, 1.0, 10.0]}),
    *sets("sequence_length", {"2,64": [2, 64], "range(2,5,2)": [2, 4]}),
    *sets("data_seed", {"0,1": [0, 1], "shuffle(range(1,3))": [1, 2]}),
    *sets("recurrent_scale", {"1,-1": [1.0], "nan,2,abc": [2.0], "${nope},2": [2.0]}, code=1),
    *sets("recurrent_scale", {"linspace(-1,1,3)": [0.0, 1.0], "'1',2": [2.0]}, code=1),
    *sets("cell", {"gru,gruu": ["gru"], "3,gru,null": ["gru"]}, code=1),
    *sets("sequence_length", {"1,8": [8], "[2],3,''": [3], "range(0,4,2)": [2]}, code=1),
    *sets("data_seed", {"-1,1": [1], "{a:1},1.5,1": [1]}, code=1),
]
SWEEPS = [override._replace(is_sweep=True) for override in SWEEPS] + [
    Override("hydra/launcher=batched", "launcher", []),
    Override("hydra.launcher.job_dirs=all", "launcher", []),
    Override("hydra/sweeper=grid", "sweeper", []),
]
BAD_WHOLE = """
    +cell=gru ++cell=gru ~cell ~cell=nope +cell@x=gru cell ~task +experiment=nope ~name ~device
    ~recurrent_scale ~recurrent_scale=2 +recurrent_scale=1 recurrent_scale.x=1 +recurrent_scale.x=1
    +nope=1 ++nope=[1] ~nope a.b.c=1 a@b=c ~other_records +cell.dtype=float32 +cell.nope=[[1]]
    +cell.nope={a:1} +cell.ensemble=orthogonal +cell.activation=[tanh] @ ~ + = [
    scale=1 sequence_lenght=3 sequence_lenght=3,4 experiment=standard cell@x=gru =1 =a hydra=3
    hydra/launcher=nope hydra/launcher=3 hydra/sweeper=[] hydra/sweeper=nope,grid hydra.nope=1
    hydra.verbose=3 hydra.mode=nope hydra.run.dir=[a] hydra.sweep.dir=null hydra.searchpath=3
"""
BAD = [
    Override(f"{key}={text}", key, [], code=2)
    for key, texts in {
        "cell": "3 null gruu '' {a:1} {name:gru} glob(z*) [ nope(1) gru,,elman [gru,{a:1}]",
        "recurrent_scale": "-1 nan inf 1e400 null true '' '1' [1] {a:1} abc ${nope} ${name} ${ 🐱 "
        "interval(0,1) range(1,3,0) range(0,inf) linspace(0,1,1) linspace(0,1,1000000000) "
        "linspace(a,b,3) logspace(0,1,3) choice() glob(*) ${recurrent_scale} 1;2 ${oc.env:NOPE}",
        "sequence_length": "1 1.5 1e3 -1 2147483648 2147483647 null true '' [2] ${nope} ${name}",
        "data_seed": "-1 0.5 null 2147483648 abc '3' [1] {a:1}",
        "hidden_features": "0 1000000 null 4.0 a",
        "num_seeds": "0 2147483647 ${nope}",
        "batch_size": "0 2147483647 [2]",
        "dtype": "nope null [float32] {a:1} float true",
        "loss_at": "nope null [last] 3",
        "match": "nope null [state] 3",
        "device": "nope null [cpu] 0 true {a:1}",
        "other_records": "nope null [keep] 0 {a:1}",
        "name": f"null [a] {{a:1}} ${{nope}} ü {'x' * 300}",
        "task": "3 nope null {a:1} {name:nope} [radar,nope]",
        "cell.input_scale": "-1 nan [1] true {a:1}",
        "cell.initializer": "nope 3 [gaussian] {a:1}",
        "cell.name": "null 3 [gru] nope",
        "cell.nope": "1",
        "task.tracks": "3 [a] nope.csv . {a:1} '' nope,nope.csv",
        "task.columns": "3 {a:1} [a] a [[a]] [1,2,3]",
    }.items()
    for text in texts.split()
] + [Override(text, text.strip("+~").partition("=")[0], [], code=2) for text in BAD_WHOLE.split()]


@st.composite
def known_lists(draw):
    """Overrides of different keys, whether they are a multirun, and what they must come to."""
    is_multirun = draw(st.booleans())
    kinds = [GOOD, GOOD, SWEEPS if is_multirun else GOOD]
    kinds += draw(st.sampled_from([[], [], [BAD], [SWEEPS], [BAD, BAD]]))
    overrides = [draw(st.sampled_from(kind)) for kind in kinds]
    by_group = {one.key.partition(".")[0].partition("/")[0]: one for one in overrides}
    overrides = draw(st.permutations(list(by_group.values())))
    code = max(2 if one.is_sweep and not is_multirun else one.code for one in overrides)
    values = {one.key: one.values for one in overrides if one.values}
    axes = [values.get(key, [default]) for key, default in DEFAULTS.items()]
    points = [] if code == 2 else sorted(itertools.product(*axes))
    return ["-m"] * is_multirun + TINY + [one.text for one in overrides], code, points


KEYS = """
    cell recurrent_scale sequence_length data_seed name device other_records task dtype num_seeds
    batch_size scale cel cell@x a.b cell.name cell.input_scale cell.nope task.tracks task.columns
    experiment hydra hydra/launcher hydra/sweeper hydra/nope hydra.verbose hydra.run.dir
    hydra.sweep.dir hydra.sweep.subdir hydra.job.name hydra.job.num hydra.job.config
    hydra.job.env_set hydra.launcher hydra.launcher.minutes hydra.launcher.job_dirs
    hydra.launcher.engine hydra.sweeper.max_batch_size hydra.sweeper.params
    hydra.sweeper.params.cell hydra.mode hydra.searchpath hydra.output_subdir hydra.callbacks
"""
VALUES = """
    nan inf -1 1e400 '' null true [1] [[1]] {a:1} {a:[1,{b:2}]} [ ] } ( , '1 " \\ a:b a=b nope 0.5.5
    ${nope} ${ ${seed} ${.seed} ${oc.env:NOPE} ${oc.env:HOME} ${oc.decode:'['} ${oc.decode:'2'} $
    🐱 ☃ 1;2 ../x / . 99999999999 2147483647 0 -0.0 1e-400 x x/y 2 all int(a) int(nan) float(a)
    bool(2) json_str(1) str([]) range(1) range(3,1) range(1,3,0) range(a,b) range(0,inf)
    linspace(0,1) linspace(0,1,1) linspace(0,1,1e9) linspace(0,1,1000000000) linspace(a,b,3)
    linspace(0,inf,3) logspace(0,1,3) logspace(-1,1,3) logspace(1e-300,1e300,3) interval(0,1)
    interval(a,b) glob(g*) glob(z*) glob([]) choice() choice(1 sort() sort(1,a) shuffle() tag(a,b)
    tag() nope(1) extend_list(1) 1,2 a,b [1],[2] nope,nan
"""
wild_values = (
    st.sampled_from(VALUES.split())
    | st.text("[]{}()=,:'\"$\\ \t0aü☃@~+-./%", max_size=8)
    | st.sampled_from(["x" * 300, "[" * 50, "a.b" * 30, "${" * 20])
)
wild_overrides = st.tuples(
    st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS.split()), wild_values
).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}")
plain_overrides = st.sampled_from([one.text for one in GOOD + SWEEPS])
wild_lists = st.builds(
    lambda is_multirun, plain, wild: ["-m"] * is_multirun + TINY + plain + wild,
    st.booleans(),
    st.lists(plain_overrides, max_size=1),
    st.lists(wild_overrides, min_size=1, max_size=2),
)


SAME_EVERY_TIME = {
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
FEW_AND_MANY = pytest.mark.parametrize(
    "num", [12, pytest.param(40, marks=pytest.mark.slow)], ids=["few", "many"]
)


@FEW_AND_MANY
def test_what_was_asked_is_measured(num):
    @settings(max_examples=num, **SAME_EVERY_TIME)
    @given(known_lists())
    def one(example):
        arguments, code, points = example
        answer = check(ask(*arguments))
        assert (answer.code, answer.points) == (code, points)
        assert code < 2 or not answer.files

    one()


@FEW_AND_MANY
def test_nonsense_is_answered(num):
    @settings(max_examples=num, **SAME_EVERY_TIME)
    @given(wild_lists)
    def one(arguments):
        check(ask(*arguments))

    one()


FOUND = [
    ("cell=3", 2, "must be a string or a list"),
    ("-m cell=gru,null", 1, "must be a string or a list"),
    ("-m hydra.launcher.setup=[a]", 0, "1 points measured"),
    ("hydra.verbose=3", 2, "Hydra cannot use one of these overrides"),
    ("-m hydra.launcher=3", 2, "Hydra cannot use one of these overrides"),
    ("-m hydra.launcher.job_dirs=bad", 2, "error: unknown hydra.launcher.job_dirs 'bad'"),
    ("-m hydra.sweeper.max_batch_size=0", 2, "max_batch_size must be at least 1, not 0."),
    ("hydra.nope=3", 2, "Could not override 'hydra.nope'"),
    ("cell.forget_bias=1", 2, "sets no 'forget_bias'; ++cell.forget_bias=1 sets it"),
    ("cell={a:1}", 2, "unknown option of cell 'a'"),
    ("name=☃", 2, "cannot read the override 'name=☃'"),
    (f"name={'x' * 300}", 2, "cannot write to results/xxx"),
    (f"task.tracks={'x' * 300}", 2, "x cannot be read: File name too long."),
    ("~device", 2, "device must be a name, not null."),
    ("device=[cpu]", 2, "device must be a name, not ['cpu']."),
    ("dtype=[float32]", 2, "unknown dtype ['float32']"),
    ("+cell.nope=[[1]]", 2, "unknown option of cell 'nope'"),
    ("+cell.dtype=float32", 2, "unknown option of cell 'dtype'"),
    ("task.columns={a:1}", 2, "task.columns must be a list of names"),
    ("task.tracks=3", 2, "task.tracks must be a text, not 3."),
    ("-m recurrent_scale=range(0,inf)", 2, "a range has at most"),
    ("-m recurrent_scale=linspace(0,1,1000000000)", 2, "needs 2 to 1000000 values"),
    ("-m recurrent_scale=logspace(1e-300,1e300,3)", 0, "3 points measured"),
    ("-m hydra/launcher=basic recurrent_scale=1,-1", 1, "1 of 2 jobs failed"),
    ("-m hydra/launcher=basic recurrent_scale=-2,-1", 2, "must be a finite number >= 0, not -2."),
    ("-m hydra.sweeper.max_batch_size=1 recurrent_scale=1,-1", 1, "error: recurrent_scale must be"),
]


@pytest.mark.parametrize(("command", "code", "sentence"), FOUND, ids=range(len(FOUND)))
def test_what_fuzzing_found(command, code, sentence):
    answer = ask(*command.split(), *TINY)
    assert (answer.code, sentence in answer.err) == (code, True), answer.err
    assert (answer.points != []) == (code < 2)


@pytest.mark.parametrize(
    "overrides",
    [
        "recurrent_scale=3 ++recurrent_scale=2",
        "++recurrent_scale=3 recurrent_scale=2",
        "recurrent_scale=3 ~recurrent_scale +recurrent_scale=2",
    ],
)
def test_the_last_override_of_a_key_counts(overrides):
    assert [point[1] for point in ask("-m", *overrides.split(), *TINY).points] == [2.0]
