#!/usr/bin/env python3
"""Is the Hopper kernel what it is meant to be once it is compiled? Needs nvcc, no device.

    hopper_ptx.py NVCC PTXAS SOURCE FOLDER [INCLUDE...]

Its PTX must name the instructions that the kernel is about, and the assembler must neither spill nor say that it has
to serialise wgmma (C7508, C7510), after which the kernel would be right but slow.
"""
import pathlib
import re
import subprocess
import sys

KERNELS = 10  # five shapes of each type: attention_hopper_shapes.h
NEEDED = {
    ".target sm_90a": 1,
    "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16": 1,
    "wgmma.mma_async.sync.aligned.m64n176k16.f32.bf16.bf16": 1,
    "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16": 1,
    "cp.async.bulk.tensor.4d.shared::cluster.global": 1,
    "cp.async.bulk.tensor.5d.shared::cluster.global": 1,
    "cp.async.bulk.tensor.5d.global.shared::cta": KERNELS,
    "cp.async.bulk.wait_group.read 0": KERNELS,
    ".multicast::cluster": 4,  # two shapes of each type work in pairs
    "barrier.cluster.arrive.release": 4,
    "mapa.shared::cluster.u32": 4,
    "fence.proxy.async.shared::cta": KERNELS,
    "mbarrier.try_wait.parity": 1,
    "setmaxnreg.inc.sync.aligned.u32": KERNELS,
    "setmaxnreg.dec.sync.aligned.u32": KERNELS,
    "setmaxnreg.inc.sync.aligned.u32 160": 2,  # three warpgroups that compute
    "setmaxnreg.dec.sync.aligned.u32 32": 2,
}


def main(nvcc, ptxas, source, folder, *includes):
    ptx = pathlib.Path(folder) / "attention_hopper.ptx"
    ptx.parent.mkdir(parents=True, exist_ok=True)
    flags = [f"-I{path}" for path in includes]
    subprocess.run([nvcc, "-std=c++20", "-O3", "-arch=compute_90a", *flags, "-ptx", source, "-o", ptx], check=True)
    text = ptx.read_text()
    wrong = [f"{count} times '{words}' expected in the PTX, found {text.count(words)}"
             for words, count in NEEDED.items() if text.count(words) < count]
    said = subprocess.run([ptxas, "-arch=sm_90a", "-v", ptx, "-o", ptx.with_suffix(".cubin")], capture_output=True,
                          text=True, check=True)
    report = said.stdout + said.stderr
    wrong += [line for line in report.splitlines() if re.search(r"C75\d\d|serializ", line)]
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    if len(frames) != KERNELS:
        wrong.append(f"{KERNELS} kernels expected, the assembler reports {len(frames)}")
    wrong += [f"a kernel has {' + '.join(frame)} bytes of stack and spills" for frame in frames if set(frame) != {"0"}]
    print("\n".join(wrong) if wrong else f"{len(frames)} kernels: no spills, wgmma is not serialised")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
