"""tests/fault/run: rounds one after the other, each with a seed of its own; what
a round of the tests printed is played again with its seed.

    tests/fault/run --engine sqlite --seed 17            one round
    tests/fault/run --engine sqlite --seed 1 --rounds 50
    tests/fault/run --crash power --seed 3
    tests/fault/run --type 'plugin: ./mneme_mine.so, path: {dir}/mine.db'
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
sys.dont_write_bytecode = True

import cases  # noqa: E402
import engines  # noqa: E402
from history import Violation  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/fault/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--engine", choices=sorted(engines.ENGINES), default="sqlite"
    )
    parser.add_argument(
        "--type", help="an entry of `backends:` instead of an engine's own"
    )
    parser.add_argument(
        "--crash", choices=sorted(cases.CRASHES), default="kill"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=40, help="of a thread")
    parser.add_argument(
        "--keep", metavar="DIR", help="leave the rounds' files here"
    )
    return parser.parse_args()


def main():
    given = arguments()
    engine = engines.ENGINES[given.engine]
    if given.type:
        engine = type(
            "Given", (engines.Engine,), {"name": "given", "template": given.type}
        )
    totals = cases.Totals("%s, %s" % (engine.name, given.crash))
    for seed in range(given.seed, given.seed + given.rounds):
        try:
            result = cases.one_round(
                engine,
                seed,
                crash=given.crash,
                keep=given.keep,
                threads=given.threads,
                calls=given.calls,
            )
        except Violation as why:
            print("seed %d: %s" % (seed, why))
            return 1
        print(result)
        totals.add(result)
    print(totals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
