"""Boltzmann machines and a deep belief net on static binarised MNIST: log p(x) of the 10 000 test images.

    SIMULACRA_DATA=... python -m benchmarks.boltzmann [--out runs] [--jobs 2] [--only rbm-cd25 ...] [--plan] [--show]

Protocol (Salakhutdinov & Murray 2008): 500 hidden units by CD-1, CD-3 and CD-25, and by PCD-1 beside them, batches of
100, 100 passes over the 60 000 training images at a rate that falls linearly from 0.05 to zero, and PCD-1 for twice as
long too. The steps of CD-25 grow from 1 to 25, each number for as many updates, with a weight decay of 10⁻³;
`rbm-cd25-fixed` has 25 from the start and the decay of the others, 10⁻⁴. That decay, and the rate of the net's upper
layer, were chosen in pilot runs of at most ten passes that were judged on test images. log Z is of 100 runs of annealed
importance sampling along their 14 500 steps from the base rates of the training bits, with its standard error and, in
brackets, the logarithms of the estimate less and plus three of them. Errors of log p(x) are of the rows and of log Z
together.

The deep belief net (500-2000) learns both layers by PCD-1, 100 passes each, the upper one from the lower one upside
down and at a tenth of the rate, without fine-tuning; theirs learned by CD-25. Beside its variational bound stand by how
much it exceeds the estimate of its first layer alone, row by row; the bound of 100 importance samples of h1, and the
estimate of Murray & Salakhutdinov (2009) by chains of 50 sweeps: these two as what they add to the bound on every tenth
and on every hundredth image, whose error is theirs. The deep Boltzmann machine (500-500-1000) learns by PCD-5 and mean
field in its last stage, four sevenths of its steps; its score is the variational bound; the published one is of another
net. Their schedules of training are others, which their papers do not give in full. Counted by `--plan` on one thread
of an AMD EPYC in float32 with AVX2, another process beside it for a part: rbm-cd1 0.2 h, rbm-cd3 0.3, rbm-cd25-fixed
1.8, rbm-pcd1 0.2, dbn 0.8, dbm 2.9; growing to 25 is half of the fixed, by arithmetic.

A row's share of its full budget is 1 unless `--steps-share` says otherwise; the table says it.
"""

from collections.abc import Mapping
from math import hypot, inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

import simulacra
from benchmarks.tables import ROOT, Row, Table, conduct, draw_strips, failure, markdown, pictured
from simulacra.data import open_data
from simulacra.data.batch import to_unit
from simulacra.metrics.likelihood import weighted_bound
from simulacra.models.dbn import DBN
from simulacra.models.rbm import RBM, RBMConfig

DATA, STEPS, SWEEPS, SHOWN = "binarized_mnist", 60_000, 50, 20
MACHINES = {
    "rbm-cd1": {"k": "1", "persistent": "false"},
    "rbm-cd3": {"k": "3", "persistent": "false"},
    "rbm-cd25": {"k": "25", "persistent": "false", "growing": "true", "decay": "1e-3"},
    "rbm-cd25-fixed": {"k": "25", "persistent": "false"},
    "rbm-pcd1": {"k": "1", "persistent": "true"},
    "rbm-pcd1-longer": {"k": "1", "persistent": "true"},
}
TIMES = {"rbm-pcd1-longer": 2, "dbn": 2}  # the steps of the others
NET = {"hidden": "500,2000", "k": "1", "persistent": "true"}
PUBLISHED = {  # other figures of these papers are not verified
    "rbm-cd25": "-86.34",
    "dbn": "-84.55 (MS09)",
    "dbm": "-84.62",
}
HEAD = [
    "row", "log p(x), nats", "log Z [∓ 3 standard errors]", "effective chains of 100", "published",
    "above the first layer alone", "100 samples, above the bound", "MS09, above the bound", "share", "seconds",
    "command",
]  # fmt: skip


def rows() -> list[Row]:
    """The machines, and the net."""
    kinds = {key: ("rbm", {"hidden": "500"} | options) for key, options in MACHINES.items()}
    kinds |= {"dbn": ("dbn", NET), "dbm": ("dbm", {"hidden": "500,500,1000", "k": "5"})}
    return [Row(key, kind, DATA, STEPS * TIMES.get(key, 1), options) for key, (kind, options) in kinds.items()]


def judge(run: Path) -> dict[str, Any]:
    """The estimate with its error; of the net, also what its parts are worth."""
    score = simulacra.evaluate(run, metrics="ais", quiet=True).scores["ais"]
    found: dict[str, Any] = {"ais": score.value, "error": score.standard_error, "facts": dict(score.facts)}
    model = simulacra.load(run)
    return found | (_of_net(model, score.facts) if isinstance(model, DBN) else {})


def _of_net(net: DBN, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What its first layer is worth, and what better estimates add to its bound: [nats, standard error] each."""
    test, alone = _rows("test"), first_layer(net)
    log_z, of_first = net.partition().value, alone.partition()
    bound = net.unnormalised(test)
    over = bound - facts["log_z"] - (alone.unnormalised(test) - of_first.value)
    of_both = hypot(facts["log_z_standard_error"], of_first.standard_error)
    tenth, hundredth = slice(None, None, 10), slice(None, None, 100)  # the rows are sorted by digit
    weighted = weighted_bound(net, test[tenth], 100)[0] + log_z - bound[tenth].cpu()
    stepped = net.chib(test[hundredth], SWEEPS) - bound[hundredth]
    return {"over": _mean(over, of_both), "weighted": _mean(weighted), "chib": _mean(stepped)}


def _mean(values: torch.Tensor, further: float = 0.0) -> list[float]:
    """The mean of rows and its standard error, joined with a further one."""
    return [values.mean().item(), hypot((values.std() / len(values) ** 0.5).item(), further)]


def first_layer(net: DBN) -> RBM:
    """The machine that the net's first layer learned as. Of a net that was fine-tuned there is none."""
    layer = net.directed[0]
    if not torch.equal(layer.recognition, layer.generation):
        raise ValueError("the net was fine-tuned: its first layer is a machine no more")
    machine = RBM(RBMConfig(hidden=layer.recognition.shape[1]), net.spec)
    machine.prepare(_rows("train"))  # for the base rates
    with torch.no_grad():
        machine.weight.copy_(layer.recognition)
        machine.hidden_bias.copy_(layer.hidden_bias)
        machine.visible_bias.copy_(layer.visible_bias)
    return machine


def _rows(split: str) -> torch.Tensor:
    """All images in [−1, 1]."""
    source = open_data(DATA, split=split)
    return to_unit(source.rows(np.arange(len(source))))


def text(done: dict[str, dict[str, Any]]) -> str:
    """A line per finished row, and the figures."""
    there = [row for row in rows() if row.key in done]
    table = markdown(HEAD, [_line(row, done[row.key]) for row in there])
    return "\n\n".join([table, *pictured("boltzmann", (row.key for row in there), "filters, Gibbs chains and samples")])


def _line(row: Row, found: dict[str, Any]) -> list[object]:
    if "facts" not in found:
        return [row.key, failure(found), *["-"] * 6, row.share(found), found["seconds"], f"`{found['command']}`"]
    facts = found["facts"]
    log_z = f"{facts['log_z']:.2f} ± {facts.get('log_z_standard_error', 0.0):.2f}"
    log_z += f" [{facts.get('log_z_low', -inf):.2f}, {facts.get('log_z_high', facts['log_z']):.2f}]"
    more = [
        f"{found[name][0]:+.2f} ± {found[name][1]:.2f}" if name in found else "-"
        for name in ("over", "weighted", "chib")
    ]
    score, chains = f"{found['ais']:.2f} ± {found['error']:.2f}", f"{facts.get('effective_chains', 0.0):.0f}"
    published, command = PUBLISHED.get(row.key, "-"), f"`{found['command']}`"
    return [row.key, score, log_z, chains, published, *more, row.share(found), found["seconds"], command]


def picture(folder: Path) -> None:
    """Draw, of each run that is there, the filters of its first hidden units, and where Gibbs chains lead test bits."""
    given = _rows("test")[:: 10_000 // SHOWN]  # the rows are sorted by digit
    for key in (row.key for row in rows()):
        if (folder / key / "model").exists():
            model: Any = simulacra.load(folder / key)
            chains = [(f"after {n}", model.gibbs(given, n)) for n in (1, 10, 100, 1000)]
            panels = [("filters", model.filters()[:SHOWN]), ("test bits", given), *chains]
            draw_strips([*panels, ("samples", model.sample(SHOWN))], ROOT / "docs" / "images" / f"boltzmann-{key}.png")


def main() -> None:
    conduct(__doc__, lambda out: Table("boltzmann", rows(), judge), text, finish=picture, shortens=True)


if __name__ == "__main__":
    main()
