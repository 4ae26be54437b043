"""All that a GPU should show, in one command; about ten minutes on a recent one.

    SIMULACRA_DATA=... python benchmarks/gpu.py --out FOLDER [--tables tractable boltzmann ... --seconds 540]

Throughput against the tutorial's loop; the MNIST rows of docs/results.md, judged on the GPU and on the CPU; an
interrupted run against an uninterrupted one under --deterministic; the step of every recipe in both precisions. All
that is printed goes to FOLDER/gpu.log.

With `--tables`, instead: the rows of these tables that docs/results lacks are trained there. When the time is up their
trainings write checkpoints and end, and the same command goes on from these, in runs/, if it is called again.
docs/results.md, results and images are copied to FOLDER.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SIMULACRA = [sys.executable, "-m", "simulacra"]


class Report:
    """Runs commands one after another, printing and keeping what they print."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "gpu.log").open("a")

    def say(self, text: str) -> None:
        print(text, flush=True)
        print(text, file=self.file, flush=True)

    def run(self, *command: object) -> None:
        began = time.monotonic()
        words = [*map(str, command)]
        self.say(f"$ {' '.join(words)}")
        done = subprocess.run(words, capture_output=True, text=True, cwd=HERE.parent)
        self.say(f"{done.stdout}{done.stderr[-2000:]}exit {done.returncode} after {time.monotonic() - began:.0f} s\n")


def resumed_equals_whole(report: Report, folder: Path) -> None:
    """Forty steps at once, and in two parts, under --deterministic."""
    words = [*SIMULACRA, "train", "dcgan", "--data", "digits", "--device", "cuda", "--deterministic", "--quiet"]
    words += ["--r1", "1", "--r1-every", "4", "--checkpoint-every", "10", "--horizon", "40"]
    for name, steps in (("whole", 40), ("parts", 23), ("parts", 40)):
        report.run(*words, "--out", folder / name, "--steps", steps)
    paths = [folder / name / "model" / "model.safetensors" for name in ("whole", "parts")]
    same = all(path.exists() for path in paths) and paths[0].read_bytes() == paths[1].read_bytes()
    report.say(json.dumps({"resumed equals whole, byte for byte": same}))


def judged_alike(report: Report, run: Path) -> None:
    """The same scores on the GPU and on the CPU, to the last bits of float32 features."""
    scores = "fid,kid,precision,recall,density,coverage,is,swd,ndb,memorised"
    for device in ("cuda", "cpu"):
        report.run(*SIMULACRA, "evaluate", run, "--metrics", scores, "--device", device, "--no-cache", "--quiet")
    book = json.loads((run / "metrics.json").read_text())["evaluations"][-2:]
    values = [{name: score["value"] for name, score in entry["scores"].items()} for entry in book]
    report.say(json.dumps({"seconds on cuda and cpu": [entry["seconds"] for entry in book], "scores": values}))


def tables(report: Report, folder: Path, names: list[str], jobs: int, seconds: float) -> None:
    """Train what is missing of the tables, in their order, until the time is up."""
    until = time.monotonic() + seconds
    for name in names:
        left = max(until - time.monotonic(), 0.0)
        report.run(sys.executable, "-m", f"benchmarks.{name}", "--jobs", jobs, "--seconds", left)
    for kind in ("results", "images"):
        shutil.copytree(DOCS / kind, folder / kind, dirs_exist_ok=True)
    shutil.copy(DOCS / "results.md", folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "runs/gpu")))
    parser.add_argument("--tables", nargs="+", default=[], help="names of scripts of long tables in benchmarks/")
    parser.add_argument("--jobs", type=int, default=6, help="trainings of tables side by side")
    parser.add_argument("--seconds", type=float, default=540.0, help="for all tables")
    given = parser.parse_args()
    for name in given.tables:
        if not (HERE / f"{name}.py").exists():
            parser.error(f"there is no benchmarks/{name}.py")
    folder = given.out.resolve()
    report = Report(folder)
    if given.tables:
        return tables(report, folder, given.tables, given.jobs, given.seconds)
    report.run(sys.executable, HERE / "throughput.py", "--device", "cuda")
    for recipe in ("vae", "gan", "dcgan"):
        report.run(*SIMULACRA, "benchmark", recipe, "--data", "mnist", "--device", "cuda", "--json")
    resumed_equals_whole(report, folder)
    for recipe in ("dcgan", "vae"):
        run = folder / f"{recipe}-mnist"
        report.run(*SIMULACRA, "train", recipe, "--data", "mnist", "--device", "cuda", "--out", run, "--quiet")
        report.run(sys.executable, HERE / "judge_mnist.py", run, "--pictures", folder)
        judged_alike(report, run)


if __name__ == "__main__":
    main()
