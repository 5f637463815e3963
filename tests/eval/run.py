#!/usr/bin/env python3
"""How well search finds: R@5, R@10, R@20 and nDCG@10 over sets of memories and
questions whose answers are known.

    tests/eval/run.py [--data DIR] [--set NAME]... [--keep DIR]

DIR holds NAME.memories.jsonl and NAME.queries.jsonl, and beside it (../) evalmem.py,
which scores, and reference/, the ranker that ours is compared with (it needs numpy
and snowballstemmer; without them it is left out). The set "precisionmembench" is
made of a folder of that name in DIR. Nothing of the data is part of this repository.

A store of a set is a namespace; a memory's speaker is its role when it is one, else
its author. `kinds` of a query (our addition to the format) are the kinds that its
answers may be of.

The ranker is build/*/mneme-rank (MNEME_BUILD names the folder), which is the search
of the service without a server. --keep writes run files that evalmem.py reads.
"""

import argparse
import calendar
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MNEME_BUILD", ROOT / "build/release"))
ROLES = ("user", "assistant", "system", "tool")
COLUMNS = ("R@5", "R@10", "R@20", "nDCG@10")
WANTED = 20


# ---- sets -------------------------------------------------------------------


def lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def precisionmembench(folder):
    """Beliefs are memories; cases with relevant beliefs are queries, limited to
    their scopes."""
    memories = [
        {
            "id": each["_id"],
            "store": "precisionmembench",
            "seq": i,
            "session": "beliefs",
            "created_at": each["created_at"],
            "speaker": "user",
            "text": " ".join(
                [each["canonical_name"], *each["aliases"], each["content"]]
            ),
            "kind": each["scope"][0],
            "metadata": {
                "scope": each["scope"],
                "status": each["epistemic_status"],
            },
        }
        for i, each in enumerate(json.loads((folder / "beliefs.seed.json").read_text()))
    ]
    queries = []
    for case in json.loads((folder / "retrieval.cases.json").read_text()):
        gold = case["expect"].get("relevantBeliefs", {}).get("shouldOnlyInclude")
        if gold:
            queries.append(
                {
                    "id": case["caseId"],
                    "store": "precisionmembench",
                    "category": case["category"],
                    "question": case["query"],
                    "gold": gold,
                    "kinds": case["scope"],
                }
            )
    return memories, queries


def load(data, name):
    if name == "precisionmembench":
        memories, queries = precisionmembench(data / name)
    else:
        memories = lines(data / (name + ".memories.jsonl"))
        queries = lines(data / (name + ".queries.jsonl"))
    memories.sort(key=lambda m: (m["store"], m["seq"]))
    return memories, queries


def sets_in(data):
    found = sorted(p.name.split(".")[0] for p in data.glob("*.memories.jsonl"))
    if (data / "precisionmembench").is_dir():
        found.append("precisionmembench")
    return found


def time_us(text):
    when = time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    return calendar.timegm(when) * 1000000


def session_of(memory):
    """So that sessions sort as their numbers do."""
    number = memory["session"]
    return "%06d" % number if isinstance(number, int) else str(number)


def author_and_role(memory):
    speaker = memory["speaker"]
    return ("", speaker) if speaker in ROLES else (speaker, "")


# ---- rankers ----------------------------------------------------------------


def rank_by_library(memories, queries):
    """{query id: memory ids}, by mneme-rank; what it says of itself is printed."""

    def line(*fields):
        clean = (str(f).replace("\x1f", " ").replace("\n", " ") for f in fields)
        return "\x1f".join(clean) + "\n"

    text = "".join(
        line(
            "M",
            m["store"],
            m["id"],
            session_of(m),
            m["seq"],
            time_us(m["created_at"]),
            *author_and_role(m),
            m.get("kind", ""),
            m.get("caption") or "",
            m["text"],
        )
        for m in memories
    )
    text += "".join(
        line(
            "Q",
            q["store"],
            q["id"],
            WANTED,
            ",".join(q.get("kinds", ())),
            q["question"],
        )
        for q in queries
    )
    done = subprocess.run(
        [BUILD / "mneme-rank"], input=text.encode(), capture_output=True, check=True
    )
    print("  " + done.stderr.decode().strip())
    runs = (json.loads(each) for each in done.stdout.splitlines())
    return {each["id"]: each["ranking"] for each in runs}


def rank_by_reference(data, memories, queries):
    """The same by reference/lexf.py; None when it can't be run here."""
    sys.path.insert(0, str(data.parent / "reference"))
    try:
        import lexf
        import numpy
    except ImportError as error:
        print("  no reference: %s" % error)
        return None
    ranker = lexf.Final()
    stores = {}
    for m in memories:
        stores.setdefault(m["store"], []).append(m)
    for store, of_it in stores.items():
        ranker.add(store, of_it)
    found = {}
    for q in queries:
        scores = ranker.scores(q["store"], q)
        of_it, kinds = stores[q["store"]], q.get("kinds")
        order = (
            i
            for i in numpy.argsort(-scores, kind="stable")
            if scores[i] > 0 and (not kinds or of_it[i].get("kind") in kinds)
        )
        found[q["id"]] = [of_it[i]["id"] for i, _ in zip(order, range(WANTED))]
    return found


# ---- scoring ----------------------------------------------------------------


def scorer(data):
    spec = importlib.util.spec_from_file_location(
        "evalmem", data.parent / "evalmem.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(evalmem, name, rankings, queries):
    per = evalmem.evaluate(rankings, queries)
    for group, ids in evalmem.groups(queries).items():
        figures = evalmem.agg(per, ids)
        if figures:
            print(
                "  %-10s %-32s %5d" % (name, group[:32], len(ids))
                + "".join("%8.1f" % (100 * figures[c]) for c in COLUMNS)
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--data", type=pathlib.Path, default=ROOT.parent / "shared/eval/data"
    )
    parser.add_argument("--set", action="append")
    parser.add_argument("--keep", type=pathlib.Path)
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    evalmem = scorer(args.data)
    for name in args.set or sets_in(args.data):
        memories, queries = load(args.data, name)
        print("%s: %d memories, %d queries" % (name, len(memories), len(queries)))
        print("  %-10s %-32s %5s" % ("", "", "") + "".join("%8s" % c for c in COLUMNS))
        runs = {
            "mneme": rank_by_library(memories, queries),
            "reference": rank_by_reference(args.data, memories, queries),
        }
        for ranker, rankings in runs.items():
            if rankings is None:
                continue
            report(evalmem, ranker, rankings, queries)
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                path = args.keep / ("%s.%s.jsonl" % (name, ranker))
                with open(path, "w", encoding="utf-8") as f:
                    for query, ranking in rankings.items():
                        f.write(json.dumps({"id": query, "ranking": ranking}) + "\n")


if __name__ == "__main__":
    main()
