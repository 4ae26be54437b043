"""Kill a run with SIGKILL 25 times, each at another point, and compare its end with that of a run left alone.

    python benchmarks/kill9.py [--kills 25]

The game: *dcgan* with EMA and a lazy R1 penalty, fed from a folder of photographs by 2 workers (`--stream`). Each
trial is killed at a random step after its first checkpoint, five of them while a checkpoint is being written (its
folder still has its temporary name); then the same command is given again. A trial passes if the log proves a resume
from a step > 0, no step stands twice in it, and `model.safetensors` is byte for byte that of the run left alone.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

STEPS, CHECKPOINT = 60, 10


def photographs(place: Path) -> Path:
    """Some flowers from the shared archive, as a folder."""
    archive = Path(os.environ["SIMULACRA_DATA"]) / "tf_flowers" / "flower_photos_96.zip"
    with zipfile.ZipFile(archive) as bundle:
        names = [name for name in bundle.namelist() if name.endswith(".jpg")][::6]
        bundle.extractall(place, names)
    return place / "flower_photos"


def command(data: Path, out: Path) -> list[str]:
    words = [
        "train",
        "dcgan",
        "--data",
        f"folder:{data}",
        "--size",
        "32",
        "--stream",
        "--workers",
        "2",
        "--out",
        str(out),
    ]
    words += ["--width", "8", "--batch", "16", "--r1", "1", "--r1-every", "4", "--steps", str(STEPS), "--seed", "3"]
    words += ["--checkpoint-every", str(CHECKPOINT), "--log-every", "1", "--quiet"]
    return [sys.executable, "-m", "simulacra", *words]


def logged(out: Path) -> list[dict]:
    lines = (out / "log.jsonl").read_text().split("\n") if (out / "log.jsonl").exists() else []
    return [json.loads(line) for line in lines[:-1]]


def ready(out: Path, step: int, writing: bool) -> bool:
    """Whether the moment to kill has come: the step is in the log, or a checkpoint past the first is half written."""
    if writing:
        partial = [int(path.name.split("-")[1].split(".")[0]) for path in out.glob("checkpoints/.step-*.partial")]
        return any(number >= step for number in partial)
    return any(line.get("step", 0) >= step for line in logged(out))


def kill_at(data: Path, out: Path, step: int, writing: bool) -> bool:
    """Start, wait for the moment, kill. False if the run was over first."""
    process = subprocess.Popen(command(data, out), start_new_session=True)
    while process.poll() is None:
        if ready(out, step, writing):
            process.kill()
            process.wait()
            return True
        time.sleep(0 if writing else 0.002)
    return False


def interrupted(data: Path, out: Path, writing: bool, draw: random.Random) -> str:
    """Kill a run in `out` at a moment drawn, and say which; a checkpoint that got finished in time does not count."""
    while True:
        shutil.rmtree(out, ignore_errors=True)
        step = draw.choice([20, 30, 40, 50]) if writing else draw.randrange(CHECKPOINT + 1, STEPS - 1)
        killed = kill_at(data, out, step, writing)
        if killed and not writing:
            return f"at step {max(line.get('step', 0) for line in logged(out))}"
        if killed and list(out.glob("checkpoints/.step-*.partial")):
            return f"with the checkpoint of step {step} half written"


def trial(number: int, data: Path, place: Path, whole: bytes, writing: bool, draw: random.Random) -> bool:
    """One kill and its aftermath; whether all is as it should be."""
    out = place / f"trial-{number}"
    moment = interrupted(data, out, writing, draw)
    subprocess.run(command(data, out), check=True)
    lines = logged(out)
    steps = [line["step"] for line in lines if "step" in line]
    resumes = [line["from"] for line in lines if line.get("event") == "resume"]
    same = (out / "model" / "model.safetensors").read_bytes() == whole
    passed = same and len(resumes) == 1 and resumes[0] > 0 and steps == list(range(1, STEPS + 1))
    verdict = "ok" if passed else "FAILED"
    print(f"{number + 1:3}  killed {moment}, resumed from {resumes}, same bytes: {same}  {verdict}", flush=True)
    shutil.rmtree(out)
    return passed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=25)
    kills, draw = parser.parse_args().kills, random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = photographs(place)
        subprocess.run(command(data, place / "whole"), check=True)
        whole = (place / "whole" / "model" / "model.safetensors").read_bytes()
        passed = [trial(k, data, place, whole, k % 5 == 4, draw) for k in range(kills)]
    mid = sum(k % 5 == 4 for k in range(kills))
    print(f"{sum(passed)} of {kills} trials passed, {mid} of them killed in mid-checkpoint")
    sys.exit(sum(passed) < kills)


if __name__ == "__main__":
    main()
