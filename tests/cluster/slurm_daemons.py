"""A SLURM of one's own on this machine: two virtual nodes, started and ended as processes."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.training.processes import until

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "scancel")
CONFIGURATION = """\
ClusterName=ci
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=debug Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=40
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


def missing_programs():
    """What a SLURM on this machine lacks; '' where it can be started."""
    lacking = [name for name in PROGRAMS if program(name) is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd wants to be root"


def program(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


@contextmanager
def running_slurm():
    """Two nodes that take jobs; yields the environment for SLURM's commands, and the folder."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        environment = {"SLURM_CONF": str(configured(folder))}
        for name, line in daemons(folder).items():
            ending.enter_context(daemon(name, line, folder))
            if name == "munged":
                until((folder / "munge.socket").exists)
        until(lambda: all_idle(environment))
        yield environment, folder


def configured(folder):
    """Write what the daemons read; the path of slurm.conf."""
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    file = folder / "slurm.conf"
    file.write_text(CONFIGURATION.format(folder=folder, ports=free_ports(3)))
    return file


def free_ports(number):
    """Ports that nothing listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def daemons(folder):
    """Command lines of all daemons, in the foreground, in the order of their start."""
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    munge = [program("munged"), "--foreground", "--force", f"--socket={folder}/munge.socket"]
    nodes = {
        node: [program("slurmd"), "-D", "-f", folder / "slurm.conf", "-N", node]
        for node in ("n1", "n2")
    }
    control = [program("slurmctld"), "-D", "-f", folder / "slurm.conf"]
    return {"munged": [*munge, *files], "slurmctld": control, **nodes}


@contextmanager
def daemon(name, line, folder):
    """One daemon as a process, until the end of the block."""
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(list(map(str, line)), stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def asked(environment, *line, check=True):
    """What one of SLURM's commands prints."""
    whole = subprocess.run(
        list(map(str, line)),
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
        check=False,
    )
    assert not check or whole.returncode == 0, f"{line}: {whole.stderr}"
    return whole.stdout.strip()


def all_idle(environment):
    """Whether both nodes take jobs and have none."""
    states = asked(environment, "sinfo", "-h", "-N", "-p", "debug", "-o", "%T", check=False)
    return states.split() == ["idle", "idle"]


def job_facts(environment, job):
    """SLURM's facts of a job, by their names."""
    words = asked(environment, "scontrol", "show", "job", job).split()
    return dict(word.split("=", 1) for word in words if "=" in word)
