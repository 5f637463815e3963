#!/usr/bin/env python3
"""Runs mneme-conform on mutants of engines, and demands that it finds them out.

usage: check_mutants.py --conform PROGRAM --plugins FOLDER [--mutants FOLDER]

For each X.mutant the plugin FOLDER/mutant_X.so must fail, and a test written for
the duty that it breaks must be among those that fail. The randomised model test
does not count: it runs beside and is only reported, to show what it would find.
"""

import argparse
import pathlib
import subprocess
import sys

from make_mutant import Mutant

MUTANTS = 18  # one that got lost must not look like one that was found
TIMEOUT_S = 5  # of one test: some mutants hang
RANDOM = "model_"


def listed(conform):
    """The tests of each duty: {"C-14": ["c14_...", ...]}, without the random one."""
    tests = {}
    out = subprocess.run([conform, "--list"], capture_output=True, text=True, check=True)
    for line in out.stdout.splitlines():
        name, _, duties = line.partition(" [")
        if name.startswith(RANDOM):
            continue
        for duty in duties.rstrip("]").split():
            tests.setdefault(duty, []).append(name)
    return tests


def failures(conform, plugin, config, globs):
    """The tests that fail on the plugin; None when the program itself did."""
    options = ["--config", str(config)] if config.exists() else []
    out = subprocess.run(
        [conform, "--plugin", str(plugin), "--timeout", str(TIMEOUT_S), "--test", globs]
        + options,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if out.returncode not in (0, 1):
        print(out.stderr, file=sys.stderr)
        return None
    failed = [line.split()[1] for line in out.stdout.splitlines() if line.startswith("FAIL ")]
    if bool(failed) != (out.returncode == 1):
        print("the exit status and the failures don't agree", file=sys.stderr)
        return None
    return failed


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser()
    parser.add_argument("--conform", required=True)
    parser.add_argument("--plugins", required=True, type=pathlib.Path)
    parser.add_argument("--mutants", default=here / "mutants", type=pathlib.Path)
    args = parser.parse_args()

    tests = listed(args.conform)
    mutants = [Mutant(path) for path in sorted(args.mutants.glob("*.mutant"))]
    if len(mutants) != MUTANTS:
        sys.exit(f"{len(mutants)} mutants in {args.mutants}, expected {MUTANTS}")
    survived = 0
    for mutant in mutants:
        plugin = args.plugins / f"mutant_{mutant.name}.so"
        if not plugin.exists():
            sys.exit(f"{plugin} has not been built")
        if mutant.duty not in tests:
            sys.exit(f"{mutant.path}: no test has the duty {mutant.duty}")
        config = here / f"{mutant.room}.yaml"  # of an engine that needs one
        found = failures(args.conform, plugin, config, ",".join(tests[mutant.duty]))
        model = failures(args.conform, plugin, config, RANDOM + "*")
        if found is None or model is None:
            sys.exit(f"{mutant.name}: mneme-conform did not run")
        by_model = "also by the model" if model else "not by the model"
        if found:
            print(f"found    {mutant.name} [{mutant.duty}] by {', '.join(found)}; {by_model}")
        else:
            print(f"SURVIVED {mutant.name} [{mutant.duty}]: {mutant.title} ({by_model})")
            survived += 1
    print(f"{len(mutants) - survived} passed, {survived} failed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
