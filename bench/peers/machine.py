"""The machine as a result file names it, and how much of it was somebody else's while we measured. Linux only."""
import datetime
import os
import pathlib
import platform
import re


def describe():
    info = {"processor": "unknown", "processors": os.cpu_count(), "system": f"{platform.system()} {platform.release()} {platform.machine()}"}
    flags = ""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name":
            info["processor"] = value
        if key in ("flags", "Features"):
            flags = value
    info["features"] = [f for f in flags.split() if re.match(r"avx|amx|fma|f16c|asimd|sve|bf16|i8mm", f)]
    caches = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")
    info["caches"] = [f"L{(c / 'level').read_text().strip()} {(c / 'type').read_text().strip().lower()} {(c / 'size').read_text().strip()}"
                      for c in sorted(caches.glob("index*")) if (c / "size").exists()]
    pages = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    info["huge_pages"] = pages.read_text().strip() if pages.exists() else "unknown"
    info["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    return info


def steal():
    """Hundredths of a second that the host took from this machine's processors since its start."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) if len(fields) > 8 else 0


def busy(cores):
    """Seconds that these processors have worked for anybody since the machine's start; without what the host took."""
    total = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        fields = line.split()
        if fields and fields[0] in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _wait, irq, softirq = (int(field) for field in fields[1:8])
            total += user + nice + system + irq + softirq
    return total / os.sysconf("SC_CLK_TCK")


def worked(pids):
    """Seconds that these processes and our children that have ended have worked."""
    total = os.times().children_user + os.times().children_system
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total
