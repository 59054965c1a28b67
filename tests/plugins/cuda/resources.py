#!/usr/bin/env python3
"""Are the kernels within their budget of registers, shared memory and stack?

    resources.py BUDGET FOLDER...            compares, exit 1 where a kernel is over, unknown or gone
    resources.py --write BUDGET FOLDER...    writes what is

The assembler's reports lie beside the objects (cmake/keep-ptxas-report). A line of the budget:
    ARCHITECTURE REGISTERS SHARED STACK KERNEL
STACK counts bytes of the stack frame and of spills, both ways. A kernel that takes less than its line is no failure.
"""
import pathlib
import re
import subprocess
import sys

COMPILING = re.compile(r"Compiling entry function '([^']+)' for '(sm_\w+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def reports(text):
    """(architecture, mangled name) -> (registers, shared, stack)"""
    found, key, stack = {}, None, 0
    for line in text.splitlines():
        if match := COMPILING.search(line):
            key, stack = (match[2], match[1]), 0
        elif match := FRAME.search(line):
            stack = sum(map(int, match.groups()))
        elif key and (match := USED.search(line)):
            shared = SHARED.search(line)
            found[key] = (int(match[1]), int(shared[1]) if shared else 0, stack)
            key = None
    return found


def plain_names(names):
    """Without namespaces, arguments and blanks: PortableKernel<Bf16,64,64,false>"""
    said = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = {}
    for name, text in zip(names, said.splitlines()):
        text = re.sub(r"\(anonymous namespace\)::|sage::cuda::|sage::cudnn::|hopper::", "", text)
        text = re.sub(r"^void ", "", re.sub(r"\((?:int|bool|signed char|unsigned int)\)", "", text))
        depth = 0
        for at, letter in enumerate(text):  # up to the arguments
            depth += (letter == "<") - (letter == ">")
            if letter == "(" and depth == 0:
                text = text[:at]
                break
        short[name] = text.replace(" ", "")
    return short


def main(arguments):
    write = arguments[:1] == ["--write"]
    arguments = arguments[write:]
    if len(arguments) < 2:
        sys.exit(__doc__)
    budget_file, folders = pathlib.Path(arguments[0]), map(pathlib.Path, arguments[1:])
    found = {}
    for folder in folders:
        for report in sorted(folder.rglob("*.ptxas")):
            found |= reports(report.read_text())
    if not found:
        sys.exit(f"no report of a kernel in {' '.join(arguments[1:])}; is the plugin built?")
    names = plain_names(sorted({name for _, name in found}))
    used = {(architecture, names[name]): figures for (architecture, name), figures in found.items()}
    if write:
        lines = [f"{a:<8} {r:>9} {m:>6} {s:>5} {n}" for (a, n), (r, m, s) in sorted(used.items())]
        head = [line for line in budget_file.read_text().splitlines() if line.startswith("#")] if budget_file.exists() else []
        budget_file.write_text("\n".join(head + lines) + "\n")
        return
    budget = {}
    for line in budget_file.read_text().splitlines():
        if line and not line.startswith("#"):
            architecture, *figures, name = line.split()
            budget[architecture, name] = tuple(map(int, figures))
    built = {architecture for architecture, _ in used}
    faults = []
    for key, figures in sorted(used.items()):
        if key[0] not in {architecture for architecture, _ in budget}:
            continue  # an architecture that nobody keeps a budget of
        if key not in budget:
            faults.append(f"{key[0]} {key[1]} has no line in {budget_file.name}")
            continue
        for what, is_now, may_be in zip(("registers", "bytes of shared memory", "bytes of stack and spills"), figures, budget[key]):
            if is_now > may_be:
                faults.append(f"{key[0]} {key[1]} takes {is_now} {what}, its budget is {may_be}")
    faults += [f"{key[0]} {key[1]} is in {budget_file.name} and not in the build" for key in sorted(budget)
               if key[0] in built and key not in used]
    for fault in faults:
        print(fault)
    print(f"{len(used)} kernels, {len(faults)} faults")
    sys.exit(1 if faults else 0)


main(sys.argv[1:])
