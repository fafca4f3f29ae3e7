"""A real SLURM of one node on loopback, accounting included, for the length of a `with` block."""

import contextlib
import getpass
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "mariadb-install-db", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
PATH = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
USER = getpass.getuser()
DEADLINE = 30.0  # s, for a daemon to come up, and for it to go

# NoInAddrAny: listen where the machine's name resolves to (see `_loopback`), not everywhere.
# config_overrides: the node has the CPUs named here, however few the machine has.
SLURM = """\
ClusterName=test
SlurmctldHost=localhost({address})
SlurmctldPort={control}
SlurmdPort={node}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={sockets}/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={sockets}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={accounting}
AccountingStoragePass={sockets}/munge
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MaxArraySize=10001
MaxJobCount=20000
NodeName=localhost NodeAddr={address} CPUs={cpus} RealMemory={memory}
PartitionName=test Nodes=localhost Default=YES
"""

ACCOUNTING = """\
AuthInfo=socket={sockets}/munge
DbdHost=localhost
DbdAddr={address}
DbdPort={accounting}
CommunicationParameters=NoInAddrAny
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
"""


def missing() -> list[str]:
    """Returns the programs that a cluster needs and this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


@contextlib.contextmanager
def cluster(folder: Path, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Runs a cluster whose files lie in `folder`; yields the environment by which clients find it.

    Its sockets lie elsewhere: the path of a Unix socket is shorter than 108 characters.
    """
    folder = folder.resolve()
    with contextlib.ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        clients = {"SLURM_CONF": str(_configure(folder, sockets, cpus))}
        environment = os.environ | clients | {"PATH": PATH, "MYSQL_UNIX_PORT": f"{sockets}/mariadb"}
        stack.callback(_kill_jobs, clients["SLURM_CONF"])

        def start(*command: str, until: Callable[[], bool]) -> None:
            stack.enter_context(_daemon(command, folder, environment, until))

        def answer(*command: str) -> str | None:
            client = subprocess.run(command, env=environment, capture_output=True, text=True)
            return None if client.returncode else client.stdout

        start(*_munged(folder, sockets), until=lambda: _listens(sockets / "munge"))
        start(*_mariadbd(folder, sockets), until=lambda: _listens(sockets / "mariadb"))
        register = ("sacctmgr", "--immediate", "add", "cluster", "test")
        start("slurmdbd", "-D", until=lambda: answer(*register) is not None)
        start("slurmctld", "-D", until=lambda: " is UP" in (answer("scontrol", "ping") or ""))
        start("slurmd", "-D", until=lambda: answer("sinfo", "-ho", "%t") == "idle\n")
        yield clients


def _configure(folder: Path, sockets: Path, cpus: int) -> Path:
    """Writes both configurations and MUNGE's key; returns where SLURM's is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20  # MiB
    facts = {"folder": folder, "sockets": sockets, "cpus": cpus, "memory": memory}
    facts |= zip(("control", "node", "accounting"), _free_ports(3), strict=True)
    facts |= {"user": USER, "address": _loopback()}
    (folder / "state").mkdir(parents=True)
    (folder / "slurm.conf").write_text(SLURM.format(**facts))
    secrets = {"slurmdbd.conf": ACCOUNTING.format(**facts).encode(), "munge.key": os.urandom(128)}
    for name, secret in secrets.items():
        (folder / name).touch(mode=0o600)  # what others may read is refused
        (folder / name).write_bytes(secret)
    return folder / "slurm.conf"


def _loopback() -> str:
    """The address that the daemons will listen at."""
    name = socket.gethostname()
    address = socket.gethostbyname(name)
    if not ipaddress.ip_address(address).is_loopback:
        raise RuntimeError(
            f"SLURM would listen at {address}, which this machine's name {name!r} resolves to; "
            "map the name to 127.0.0.1 in /etc/hosts."
        )
    return address


def _free_ports(count: int) -> list[int]:
    """Ports that were free together a moment ago."""
    with contextlib.ExitStack() as stack:
        servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        return [stack.enter_context(server).getsockname()[1] for server in servers]


def _munged(folder: Path, sockets: Path) -> tuple[str, ...]:
    """MUNGE, by which SLURM's programs trust each other."""
    files = {"key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munge.seed"}
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    return "munged", "--foreground", "--force", f"--socket={sockets}/munge", *options


def _mariadbd(folder: Path, sockets: Path) -> tuple[str, ...]:
    """The accounting's database, on no network, open to whoever reaches its socket."""
    data = ("--no-defaults", f"--datadir={folder}/database", f"--user={USER}")
    install = ("mariadb-install-db", *data, "--skip-test-db")
    subprocess.run(install, env=os.environ | {"PATH": PATH}, stdout=subprocess.DEVNULL, check=True)
    reach = (f"--socket={sockets}/mariadb", "--skip-networking", "--skip-grant-tables")
    return "mariadbd", *data, *reach, "--innodb-buffer-pool-size=64M"


@contextlib.contextmanager
def _daemon(
    command: tuple[str, ...], folder: Path, environment: dict[str, str], until: Callable[[], bool]
) -> Iterator[None]:
    """Runs a daemon as a child, in the foreground of a session that no Ctrl-C reaches."""
    log = folder / f"{command[0]}.log"
    with log.open("wb") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        daemon = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    try:
        _wait(daemon, until, log)
        yield
    finally:
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(DEADLINE)
        daemon.kill()
        daemon.wait()


def _wait(daemon: subprocess.Popen[bytes], until: Callable[[], bool], log: Path) -> None:
    """Waits for a daemon, and shows what it said when it does not come."""
    deadline = time.monotonic() + DEADLINE
    while not until():
        if daemon.poll() is not None or time.monotonic() > deadline:
            said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            state = "still runs" if daemon.poll() is None else f"ended with {daemon.returncode}"
            raise RuntimeError(f"{log.stem} does not answer and {state}; it said:\n{said}")
        time.sleep(0.05)


def _listens(path: Path) -> bool:
    """Whether somebody listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _kill_jobs(configuration: str) -> None:
    """Kills what still runs for this cluster: jobs are no children of slurmd, and outlive it."""
    while jobs := [job for job in Path("/proc").glob("[0-9]*") if _names(job, configuration)]:
        for job in jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.name), signal.SIGKILL)
        time.sleep(0.05)


def _names(process: Path, configuration: str) -> bool:
    """Whether a process was started with this configuration in its environment."""
    with contextlib.suppress(OSError):
        return f"SLURM_CONF={configuration}\0".encode() in (process / "environ").read_bytes()
    return False
