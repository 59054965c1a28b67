"""Who is measured: `sage-engine bench` as a command, and each peer in a process of its own.

A peer's process lives for many rows, since importing it takes seconds; while it is not its turn it is stopped by SIGSTOP, so
that no pool of its threads can spin on a core that somebody else is measured on. No contender's figures are looked at here.
"""
import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
DRIVERS = {"torch": "torch_sdpa.py", "onnxruntime": "ort_attention.py", "openvino": "openvino_sdpa.py", "jax": "jax_sdpa.py"}
PR_SET_PDEATHSIG = 1
PATIENCE = 240  # seconds for one answer of a peer
# Held to AVX2: what each reads. A peer without a switch runs as it is and is not counted as held.
AVX2 = {
    "torch": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "jax": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"},
}


def cores(threads):
    """The last cores this process may use: the first has most of a machine's interrupts."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise ValueError(f"{threads} threads asked for, {len(allowed)} processors allowed")
    return allowed[-threads:]


def environment(threads):
    """No spinning pools, the same threads in every library that has its own, huge pages for everybody's malloc alike."""
    count = str(threads)
    return dict(os.environ, OMP_WAIT_POLICY="PASSIVE", KMP_BLOCKTIME="0", GOMP_SPINCOUNT="0", OMP_NUM_THREADS=count,
                MKL_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count, GLIBC_TUNABLES="glibc.malloc.hugetlb=1",
                JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="", PYTHONDONTWRITEBYTECODE="1")


def becomes(where):
    """For the child before it runs: pinned, and killed when we die, since a stopped process would stay for ever."""
    libc = ctypes.CDLL(None)

    def prepare():
        os.sched_setaffinity(0, where)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


class Gone(Exception):
    """The peer's process cannot answer any more; the text says why."""


class Peer:
    """One peer's process, pinned; stopped except inside an order. hello: what it said of itself. script, arguments, extra:
    the driver's file where it is not that of the name, what it is told, and its environment."""

    def __init__(self, name, python, threads, isa, script=None, arguments=(), extra=None):
        self.name, self.python, self.threads, self.isa = name, python, threads, isa
        self.script, self.arguments, self.extra = script or DRIVERS[name], arguments, extra or {}
        self.held = isa == "native" or name in AVX2
        self.process = None
        self.hello = {}

    def command(self):
        return [str(self.python), str(HERE / self.script), *self.arguments]

    def start(self):
        where = set(cores(self.threads))
        extra = self.extra | (AVX2.get(self.name, {}) if self.isa == "avx2" else {})
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, env=dict(environment(self.threads), **extra), preexec_fn=becomes(where))
        self.pending = b""
        self.hello = self.read()
        if "missing" in self.hello:
            self.stop()
            raise Gone(f"does not start: {self.hello['missing']}")
        os.kill(self.process.pid, signal.SIGSTOP)

    def read(self):
        end = time.monotonic() + PATIENCE
        while b"\n" not in self.pending:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                self.stop()
                raise Gone(f"no answer within {PATIENCE} s")
            got = os.read(self.process.stdout.fileno(), 1 << 16)
            if not got:
                code = self.process.wait()
                self.errors.seek(0)
                said = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
                self.stop()
                how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
                raise Gone(how + (f": {said[-1][:200]}" if said else ""))
            self.pending += got
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def order(self, **what):
        """The answer. Starts the process where there is none. Raises Gone."""
        if self.process is None:
            self.start()
        os.kill(self.process.pid, signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # read() says how it ended
        answer = self.read()
        os.kill(self.process.pid, signal.SIGSTOP)
        return answer

    def stop(self):
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.errors):
            pipe.close()
        try:
            self.process.stdin.close()
        except OSError:
            pass  # an order that was never read
        self.process = None


class Program(Peer):
    """A program that answers the same orders; python is its path."""

    def __init__(self, name, program, threads, arguments=(), extra=None):
        super().__init__(name, program, threads, "native", script="-", arguments=arguments, extra=extra)

    def command(self):
        return [str(self.python), *self.arguments]


def with_arm(problem, addition):
    if not addition:
        return problem
    return problem + ("," if ":" in problem else ":") + addition


def ours(engine, row, addition, options, check_time):
    """One process of ours: {"row", "roofline", "command"} or {"why", "wrong": whether the answer was}."""
    command = [str(engine), "bench", "--attn", with_arm(row["problem"], addition), "--backends", "cpu", "--threads",
               str(row["threads"]), "--json", "--raw", "--min-time", str(row["seconds"]), "--min-samples", str(row["least"]),
               "--max-samples", str(row["most"]), "--warmup", str(row["warmup"]), "--check-time", str(check_time)]
    if row["isa"] != "native":
        command += ["--option", f"cpu.isa={row['isa']}"]
    command += options
    where = set(cores(row["threads"]))
    shown = " ".join(["sage-engine"] + command[1:])
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment(row["threads"]), timeout=PATIENCE,
                              preexec_fn=becomes(where))
    except subprocess.TimeoutExpired:
        return {"why": f"no answer within {PATIENCE} s", "wrong": False, "command": shown}
    except OSError as error:
        return {"why": f"{engine.name} cannot be started: {error.strerror}", "wrong": False, "command": shown}
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        return {"why": said[-1][:300], "wrong": done.returncode == 1, "command": shown}
    report = json.loads(done.stdout)
    return {"row": report["rows"][0], "roofline": report["roofline"], "command": shown}
