"""The long tables: rows that can be trained, and the pure functions that judge them."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch

from benchmarks import (
    amortisation,
    autoencoders,
    boltzmann,
    chains,
    cogan,
    conditional,
    dbn_few_labels,
    digits,
    endurance,
    few_images,
    few_labels,
    implicit_posterior,
    infogan,
    inversion,
    manifolds,
    mixtures,
    modes,
    nats,
    objectives,
    parzen,
    quadrants,
    real_values,
    robustness,
    similarity,
    stacked,
    strings,
    tables,
    toy_posterior,
    tractable,
)
from simulacra.capabilities import HasClasses
from simulacra.data import open_data
from simulacra.data.spec import Spec
from simulacra.data.subset import some
from simulacra.metrics.ais import exact_log_z
from simulacra.metrics.catalogue import kinds_of_scores, measures
from simulacra.models.dbn import DBN, DBNConfig
from simulacra.models.infogan import InfoGAN, InfoGANConfig
from simulacra.protocol import Protocol
from simulacra.recipes import find
from simulacra.settings import RunOptions
from simulacra.training import train

MODULES = (
    *(amortisation, autoencoders, boltzmann, chains, conditional, endurance, few_images, few_labels),
    *(
        implicit_posterior,
        infogan,
        manifolds,
        mixtures,
        modes,
        nats,
        objectives,
        quadrants,
        real_values,
        robustness,
        similarity,
        stacked,
        strings,
        tractable,
    ),
)
DIGITS = tuple("0123456789")
SPECS = {
    "binarized_mnist": Spec(kind="image", shape=(1, 28, 28), classes=None),
    "mnist": Spec(kind="image", shape=(1, 28, 28), classes=DIGITS),
    "fashion_mnist": Spec(kind="image", shape=(1, 28, 28), classes=DIGITS),
    "stacked_mnist": Spec(kind="image", shape=(3, 28, 28), classes=None),
    "olivetti_faces": Spec(kind="image", shape=(1, 32, 32), classes=None),
    "cifar10": Spec(kind="image", shape=(1, 16, 16), classes=DIGITS),
    "frey_faces": Spec(kind="image", shape=(1, 28, 20), classes=None),
    "grammar": Spec(kind="vector", shape=(72,), classes=None),
    "ring": Spec(kind="vector", shape=(2,), classes=None),
    "grid": Spec(kind="vector", shape=(2,), classes=None),
}
ROWS = [
    pytest.param(row, id=row.key)
    for module in MODULES
    for row in module.rows()
    if row.seed == min(row.seed for row in module.rows())
]
RAN = {"seconds": 3, "command": "simulacra train"}


def built(row):
    kind = find(row.recipe)
    return kind.build(SPECS[row.data], 60_000, kind.options().with_overrides(row.options, row.recipe))


@pytest.mark.parametrize("module", [*MODULES, cogan, parzen], ids=lambda module: module.__name__)
def test_keys_are_unique_and_names_of_folders(module):
    keys = [row.key for row in module.rows()]
    assert len(set(keys)) == len(keys)
    assert not any("/" in key for key in keys)


@pytest.mark.parametrize("row", ROWS)
def test_a_rows_options_build_and_its_scores_exist(row):
    assert built(row).players
    run = RunOptions.read({}, "run").with_overrides(row.run, "run")
    metrics = Protocol.read({"metrics": run.evaluate}, "evaluate").metrics or ()
    assert {*metrics} <= {*measures(), *kinds_of_scores()}


def test_every_row_has_its_seed_and_all_seeds_are_there():
    assert [row.seed for row in infogan.rows()] == [3, 4, 5, 6, 7]
    for method in few_labels.METHODS:
        key = method.replace(" ", "-")
        assert [row.seed for row in few_labels.rows() if row.key.startswith(key)] == [0, 1, 2, 3, 4, 5]
    packed = [row for row in modes.rows() if row.key.startswith("packed")]
    assert len(packed) == 2 * 3 * 2 * 5  # slow and fast
    assert all(int(row.options["batch"]) % int(row.options["pack"]) == 0 for row in packed)


def test_only_conditional_recipes_are_asked_for_classes():
    assert all(isinstance(built(row).model, HasClasses) for row in conditional.rows())


def test_purity_is_the_share_of_each_categorys_most_frequent_digit():
    """3 of 4 and 2 of 4 (the smaller of two equally frequent), 4 of 4: 9 of 12."""
    read = torch.tensor([[7, 7, 1, 7], [9, 3, 3, 9], [7, 7, 7, 7]])
    found = infogan.purity(read)
    assert found.share == 0.75
    assert found.digits == (7, 3, 7)


def test_a_generator_of_one_digit_is_pure_and_is_told_of():
    read = torch.full((10, 5), 1)
    found = infogan.purity(read)
    assert (found.share, len({*found.digits})) == (1.0, 1)
    row = RAN | {"purity": found.share, "digits": [*found.digits], "curve": [[1000, 12.345]]}
    done = {infogan.rows()[0].key: row}
    (line,) = infogan.lines(done)
    assert line[:5] == [infogan.rows()[0].seed, "1.000", 1, "1 1 1 1 1 1 1 1 1 1", "12.3"]
    assert "1 of 1 seeds (bar: 3 of 5), 0 with ten different digits." in infogan.text(done)


@pytest.fixture
def generator_of_codes():
    torch.manual_seed(0)
    return InfoGAN(InfoGANConfig.read({"network": "mlp", "latent": 3, "width": 4}, "codes"), SPECS["mnist"])


def test_the_figure_varies_one_code_at_a_time(generator_of_codes):
    model, columns = generator_of_codes, infogan.COLUMNS
    for varied in (0, 1):
        sheet = infogan._sheet(model, varied).unflatten(0, (10, columns))
        z, category, codes = sheet.split([3, 10, 2], 2)
        assert torch.equal(z, z[:1, :1].expand_as(z))
        assert torch.equal(category, torch.eye(10)[:, None].expand_as(category))
        assert torch.allclose(codes[4, :, varied], torch.linspace(-2, 2, columns))
        assert codes[:, :, 1 - varied].abs().max() == 0
    noises = infogan._sheet(model, None).unflatten(0, (10, columns))
    assert torch.equal(noises[0, :, :3], noises[9, :, :3])
    assert len(noises[0, :, :3].unique(dim=0)) == columns
    assert [sheet.shape for sheet in infogan.panels(model)] == [(10 * columns, 1, 28, 28)] * 3


def test_each_category_is_read_on_its_own(generator_of_codes, monkeypatch):
    """A generator that writes its category into a pixel, and an extractor that reads it there."""
    model = generator_of_codes
    monkeypatch.setattr(model, "decode", lambda z: (z[:, 3:13].argmax(1) / 10.0).view(-1, 1, 1, 1))

    class Pixel:
        def __call__(self, x):
            digits = ((x.flatten() / 127.5 - 1) * 10).round().long()
            return type("Said", (), {"logits": torch.eye(10)[digits]})()

    monkeypatch.setattr(digits, "find_extractor", lambda *_: Pixel())
    assert torch.equal(infogan.read_categories(model, 4), torch.arange(10)[:, None].expand(10, 4))


def test_strings_are_judged_by_their_grammar(tmp_path, monkeypatch):
    monkeypatch.setattr(strings, "SAMPLES", 50)
    train("strings", out=tmp_path, data="grammar", steps=2, width=4, latent=2, quiet=True)
    found = strings.judge(tmp_path)
    assert 0 <= found["scores"]["grammatical"] <= 1
    assert found["error"] >= 0
    assert found["curve"] == []
    (line,) = strings.lines({"score-0": RAN | found})
    assert line[0] == "`simulacra train`"


def test_inversions_are_compared_with_the_nearest_training_image():
    """Errors 1 and 4 against 2 and 3: one of two is nearer; mean 2.5, deviation 3/sqrt(2), over sqrt(2)."""
    x = torch.zeros(2, 1, 1, 2)
    found = inversion.errors(x, torch.tensor([[1.0, 1.0], [2.0, 2.0]]).view(2, 1, 1, 2))
    assert found.tolist() == [1.0, 4.0]
    said = inversion.line("run", found, torch.tensor([2.0, 3.0]))
    assert " ".join(said.split()) == "run 2.5000 ± 1.5000 nearer than the nearest training image in 1 of 2"


def test_the_error_of_few_labels_is_the_share_misread():
    logits = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    assert few_labels.error(logits, torch.tensor([1, 1, 1, 0])) == 0.25


def test_few_labels_print_the_median_of_their_draws():
    errors = (0.5, 0.02, 0.04, 0.01, 0.03, 0.2)  # draw 0 does not count
    done = {f"ssgan-{draw}": RAN | {"error": error} for draw, error in enumerate(errors)}
    (line,) = few_labels.lines(done)
    assert line[:2] == ["ssgan", "3.00"]
    assert line[2] == "6.00 ± 7.91"  # deviations -4 -2 -5 -3 14: variance 250 / 4
    assert line[4:6] == ["2.00, 4.00, 1.00, 3.00, 20.00", "50.00"]


def test_the_rival_of_few_labels_differs_in_the_matching_alone():
    ours, rival = few_labels.METHODS["ssgan"], few_labels.METHODS["labels alone"]
    assert {name for name in ours | rival if ours.get(name) != rival.get(name)} == {"matching"}
    by_draw = [(row.seed, row.run, row.steps) for row in few_labels.rows()]
    assert by_draw[::2] == by_draw[1::2]


class Brightness(torch.nn.Module):
    """Calls an image augmented if its mean is above 0."""

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return type("Said", (), {"logits": torch.stack([-mean, mean], 1)})()


def test_the_leak_is_the_share_called_augmented():
    x = torch.tensor([-0.9, -0.5, 0.5, -0.1]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    assert few_images.called_augmented(Brightness(), x) == 0.25


@pytest.mark.parametrize("name", few_images.POLICIES)
def test_detectors_see_bytes_within_bounds(name):
    x = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(6, 1, 8, 8)
    seen = few_images.in_bytes(few_images.augmented(x, name, 3))
    assert seen.abs().max() <= 1
    assert torch.equal(seen, few_images.in_bytes(seen))
    assert torch.equal(seen, few_images.in_bytes(few_images.augmented(x, name, 3)))
    assert not torch.equal(seen, few_images.in_bytes(few_images.augmented(x, name, 4)))
    assert len(seen.unique(dim=0)) > 1


def test_a_detector_learns_to_tell_cuts_from_plain_images():
    images = torch.zeros(50, 1, 8, 8, dtype=torch.uint8)
    images[:, :, 2:6, 2:6] = 255
    network = few_images.train_detector("differentiable", images, lessons=30)
    plain = few_images.to_unit(images)
    assert few_images.called_augmented(network, plain) < 0.1
    assert few_images.called_augmented(network, few_images.augmented(plain, "differentiable", 9)) > 0.9


def few_images_row(kid, p):
    leaks = {name: {"samples": 0.25, "plain": 0.01, "augmented": 0.98} for name in few_images.POLICIES}
    curve = [[1000, 0.5], [2000, kid / 2], [3000, kid]]
    return RAN | {"kid": kid, "error": 0.001, "curve": curve, "p": p, "leaks": leaks, "extractor": 0.93}


def test_the_table_of_few_images_has_the_last_and_the_lowest(monkeypatch, tmp_path):
    monkeypatch.setattr(few_images, "PICTURE", tmp_path / "few.png")
    done = {"2000-adaptive-0": few_images_row(0.02, 0.4), "500-bare-0": few_images_row(0.08, None)}
    assert [line[:7] for line in few_images.lines(done)] == [
        ["500", "bare", "80.00 ± 1.00", "40.00 (2000)", "-", "0.250", "0.250"],
        ["2000", "adaptive", "20.00 ± 1.00", "10.00 (2000)", "0.40", "0.250", "0.250"],
    ]
    assert "differentiable: 0.010 of plain and 0.980 of augmented" in few_images.text(done)
    assert (tmp_path / "few.png").stat().st_size > 0


def test_without_a_row_there_is_neither_figure_nor_calibration(monkeypatch, tmp_path):
    monkeypatch.setattr(few_images, "PICTURE", tmp_path / "few.png")
    assert few_images.text({}).count("\n") == 1
    assert not (tmp_path / "few.png").exists()


def test_the_last_probability_is_read_from_the_log(tmp_path):
    assert few_images.last_probability(tmp_path) is None
    written = [{"step": 1, "discriminate/augment": 0.1}, {"step": 2, "discriminate/augment": 0.2}, {"event": "saved"}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    assert few_images.last_probability(tmp_path) == 0.2


def ends_well(monkeypatch):
    """Trainings that are over at once, in folders that are the rows'."""
    monkeypatch.setattr(tables, "_ran", lambda *_: (0, ""))
    monkeypatch.setattr(tables, "_not_of", lambda *_: None)


def test_a_run_of_other_steps_is_not_taken_for_the_row(tmp_path, monkeypatch, capsys):
    row = tables.Row("one", "gan", "ring", 10)
    table = tables.Table("t", [row], judge=lambda run: {"judged": True})
    table.path = tmp_path / "kept.json"
    monkeypatch.setattr(tables, "_ran", lambda *_: (0, ""))
    for ended, horizon, said in ((20, 20, "ended at step 20, not at 10"), (10, 5, "schedules that end at step 5")):
        record = {"ended": {"step": ended}, "horizon": horizon, "run": {}}
        monkeypatch.setattr(tables.RunFolder, "record", lambda self, found=record: found)
        table.run(tmp_path, 1, [row])
        assert said in capsys.readouterr().out
        assert table.done() == {}
    monkeypatch.setattr(tables.RunFolder, "record", lambda self: {"ended": {"step": 10}, "horizon": 10, "run": {}})
    table.run(tmp_path, 1, [row])
    assert table.done()["one"]["judged"]


def test_when_the_time_is_up_trainings_end_and_none_begins(tmp_path, monkeypatch):
    code, _ = tables._ran(["sleep", "100"], {**os.environ}, time.monotonic() + 0.1)
    assert code == -signal.SIGTERM
    monkeypatch.setattr(tables, "_ran", lambda *_: pytest.fail("began"))
    table = tables.Table("t", [], judge=lambda run: {})
    table.path = tmp_path / "kept.json"
    table.run(tmp_path, 1, [tables.Row("one", "gan", "ring", 10)], seconds=0.0)
    assert table.done() == {}


def test_what_was_trained_for_fewer_steps_is_missing(tmp_path, monkeypatch):
    whole = tables.Row("one", "gan", "ring", 10)
    table = tables.Table("t", [whole], judge=lambda run: {})
    table.path = tmp_path / "kept.json"
    ends_well(monkeypatch)
    for row, steps in ((whole.shortened(0.5), 5), (whole, 10), (whole.shortened(0.5), 10)):
        table.run(tmp_path, 1, [row])
        assert tables.updates(table.done()["one"]) == steps


def test_a_kept_command_names_no_folder_of_the_machine(tmp_path, monkeypatch):
    row = tables.Row("one", "dcgan", "digits", 1, run={"evaluate_features": str(tmp_path / "t" / "x.safetensors")})
    table = tables.Table("t", [row], judge=lambda run: {"seen": run.name})
    table.path = tmp_path / "kept.json"
    ends_well(monkeypatch)
    table.run(tmp_path / "t", 1, [row])
    (kept,) = table.done().values()
    assert kept["seen"] == "one"
    assert kept["command"].endswith("--evaluate-features runs/t/x.safetensors")


def test_conduct_trains_what_is_missing_between_preparing_and_finishing(tmp_path, monkeypatch):
    seen = []
    rows = [tables.Row("a-0", "gan", "ring", 1), tables.Row("b-0", "gan", "ring", 1)]
    table = tables.Table("t", rows, judge=lambda run: {})
    monkeypatch.setattr(
        table, "run", lambda folder, jobs, todo, seconds: seen.append([folder, *(row.key for row in todo)])
    )
    monkeypatch.setattr(table, "done", lambda: {"a-0": {}})
    monkeypatch.setattr(tables, "write", lambda name, text: seen.append((name, text)))
    monkeypatch.setattr("sys.argv", ["t", "--out", str(tmp_path), "--only", "b"])
    tables.conduct("A table.", lambda out: table, lambda done: " ".join(done), seen.append, seen.append)
    assert seen == [tmp_path / "t", [tmp_path / "t", "b-0"], tmp_path / "t", ("t", "a-0")]
    seen.clear()
    monkeypatch.setattr("sys.argv", ["t", "--out", str(tmp_path), "--show"])
    tables.conduct("A table.", lambda out: table, lambda done: " ".join(done), seen.append, seen.append)
    assert seen == [("t", "a-0")]


def test_a_row_that_cannot_be_judged_does_not_keep_others_from_it(tmp_path, monkeypatch, capsys):
    def judge(run):
        return {"seen": {"good": 1}[run.name]}

    rows = [tables.Row(key, "gan", "ring", 1) for key in ("bad", "good")]
    table = tables.Table("t", rows, judge)
    table.path = tmp_path / "kept.json"
    ends_well(monkeypatch)
    table.run(tmp_path, 1, rows)
    assert list(table.done()) == ["good"]
    said = capsys.readouterr().out
    assert "bad: trained, not judged" in said
    assert "KeyError: 'bad'" in said


@pytest.mark.parametrize("row", parzen.rows(), ids=lambda row: row.key)
def test_models_that_windows_are_put_on_can_be_built(row):
    kind = find(row.recipe)
    options = kind.options().with_overrides(row.options, row.recipe)
    assert kind.build(SPECS["mnist"], parzen.TRAINED, options).players


def test_windows_are_counted_by_both_protocols_and_warned_of(monkeypatch):
    pictures = torch.rand(40, 28, 28, generator=torch.Generator().manual_seed(0)).mul(255).byte().numpy()
    monkeypatch.setattr(parzen, "images", lambda split, first, last: pictures)
    score = parzen.windowed(parzen.pixels(pictures), parzen.VARIANT)
    nats = [score.value, score.standard_error, score.facts["sigma"]]
    assert nats[2] == pytest.approx(0.1)  # every test image is a sample
    row = RAN | {"parzen": nats, "variant": nats, "notes": list(score.notes), "fid": 1.234}
    (line,) = parzen.lines({"gan": row})
    assert line[:4] == ["gan", f"{nats[0]:.1f} ± {nats[1]:.1f}", "0.100", "225 ± 2"]
    said = parzen.text({"gan": row})
    assert "unreliable" in said
    assert "gan: the best sigma, 0.1, is at an end" in said


def test_what_better_estimates_add_to_a_nets_bound_is_found_row_by_row(monkeypatch):
    torch.manual_seed(0)
    net = DBN(DBNConfig(hidden=(6, 4)), SPECS["binarized_mnist"])
    images = 2 * torch.rand(300, 1, 28, 28).round() - 1
    monkeypatch.setattr(boltzmann, "_rows", lambda split: images)
    net.prepare(images)
    exact = exact_log_z(net.top.weight, net.top.visible_bias, net.top.hidden_bias)
    found = boltzmann._of_net(net, {"log_z": net.partition().value, "log_z_standard_error": 0.5})
    assert found["over"][1] > 0.5  # log Z's error is part of it
    for better in ("weighted", "chib"):  # weights begin near 0: the posterior is the recognition's
        assert found[better][0] == pytest.approx(0.0, abs=4 * found[better][1] + 1e-3)
    row = RAN | {"ais": -90.0, "error": 0.5, "facts": {"log_z": exact, "effective_chains": 90.0}} | found
    row["command"] = "simulacra train dbn --steps 60000 x"
    (line,) = (said for said in boltzmann.text({"dbn": row}).splitlines() if said.startswith("| dbn"))
    assert f"| {found['chib'][0]:+.2f} ± {found['chib'][1]:.2f} | 0.50, awaits GPU |" in line
    lost = RAN | {"command": row["command"], "failed": "training diverges: NaN at step 7"}
    failed = next(said for said in boltzmann.text({"dbn": lost}).splitlines() if said.startswith("| dbn"))
    assert "diverges at step 7" in failed
    assert failed.count("|") == line.count("|")


def test_a_net_that_is_its_first_layer_twice_over_is_worth_no_more_than_it(monkeypatch):
    """And one whose top has learned is worth what its bound gained."""
    torch.manual_seed(0)
    spec = Spec(kind="image", shape=(1, 2, 3), classes=None)
    net = DBN(DBNConfig(hidden=(4, 6)), spec)
    images = (2 * (torch.rand(300, 1, 2, 3) < 0.8).float() - 1).double().float()
    monkeypatch.setattr(boltzmann, "_rows", lambda split: images)
    with torch.no_grad():
        layer = net.directed[0]
        layer.recognition.normal_()
        layer.generation.copy_(layer.recognition)
        for bias in (layer.visible_bias, layer.hidden_bias):
            bias.normal_()
    net.unroll(1)
    facts = lambda: {"log_z": net.partition().value, "log_z_standard_error": 0.0}  # noqa: E731
    assert boltzmann._of_net(net, facts())["over"][0] == pytest.approx(0.0, abs=1e-4)
    with torch.no_grad():
        net.top.visible_bias.add_(torch.tensor([1.0, -1.0, 0.5, 0.0]))
    alone = boltzmann.first_layer(net).log_prob(images).value
    gained = (net.log_prob(images).value - alone).mean().item()
    assert abs(gained) > 0.05
    assert boltzmann._of_net(net, facts())["over"][0] == pytest.approx(gained, abs=1e-4)


def test_a_start_from_a_net_is_compared_at_the_rates_it_is_given(monkeypatch):
    monkeypatch.setattr(dbn_few_labels, "UPDATES", {100: 30})
    monkeypatch.setattr(dbn_few_labels, "VALIDATION", 50)
    torch.manual_seed(0)
    spec = Spec(kind="image", shape=(1, 8, 8), classes=DIGITS)
    net, train = DBN(DBNConfig(hidden=(12, 8)), spec), open_data("digits")
    test = dbn_few_labels.unit(open_data("digits", split="test"))
    rates = {"net": (1e-9, 1e-2), "random": (1e-2,)}
    row = dbn_few_labels.compare(net, train, test, 100, 1, rates)
    assert row["net"]["rate"] == row["random"]["rate"] == 1e-2  # that of 1e-9 stays where it was
    assert row == dbn_few_labels.compare(net, train, test, 100, 1, rates) | {"seconds": row["seconds"]}
    assert all(0 < row[start]["error"] <= 100 for start in dbn_few_labels.STARTS)
    lines = dbn_few_labels.text({"100-0": row, "100-1": row}).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == ["net", "random"]


def test_the_guess_is_of_the_length_whose_guess_is_best():
    def row(guess, bound):
        kinds = {"fill_guess": guess, "fill_bound": bound, "fill_iwae": 3.0}
        return RAN | {f"{kind}, {where}": [v, 0.1] for kind, v in kinds.items() for where in ("test", "held out")}

    (line,) = quadrants.lines({"1-learned-10": row(100.0, 80.0), "1-learned-40": row(110.0, 70.0)})
    assert line[2:6] == ["40", "100.0 ± 0.1", 100.4, "70.0 ± 0.1"]


def test_where_rows_were_trained_is_said_once_for_those_alike():
    usual = {"processor": "P", "device": "cpu", "threads": 1, "precision": "bfloat16", "torch": "2.14.1+cu130"}
    usual |= {"version": "0.1.0"}
    said = "P, 1 thread, bfloat16, torch 2.14.1, simulacra 0.1.0"
    assert tables.circumstances({"a": {}, "b": {"command": "x"}}) == []
    assert tables.circumstances({"a": usual, "b": usual}) == [f"Trained on {said}."]
    other = usual | {"device": "NVIDIA H200", "threads": 16, "precision": "float32"}
    (line,) = tables.circumstances({"c": other, "a": usual, "b": usual})
    assert line == f"Trained on {said}; c on NVIDIA H200, 16 threads, float32, torch 2.14.1, simulacra 0.1.0."


def test_images_that_lengths_are_chosen_by_are_those_that_a_run_does_not_see(monkeypatch):
    digits = open_data("digits")
    monkeypatch.setattr(quadrants, "ALL", len(digits))
    monkeypatch.setattr(quadrants, "TRAINED", 1000)
    monkeypatch.setattr(quadrants, "pixels", lambda split: digits.data)
    seen = some(digits, 1000, 0).rows(np.arange(1000))
    both = [row.numpy().tobytes() for part in (seen, quadrants.held_out()) for row in part]
    assert sorted(both) == sorted(row.numpy().tobytes() for row in digits.rows(np.arange(len(digits))))


def test_budgets_of_tractable_densities_are_their_recipes():
    for row in tractable.rows():
        assert built(row).steps == row.steps
        assert built(row).batch == tractable.BATCHES[row.recipe]
        assert tractable.watch(row.steps)["evaluate"] == "log_prob"


def test_a_line_of_tractable_densities_says_its_bar_and_its_curve():
    score = {"nats": 86.123, "error": 0.234, "bits_per_dimension": 0.1585, "kind": "exact", "parameters": 785_000}
    row = RAN | score | {"sampling": 1.04, "curve": [(10, 99.04), (20, 86.12)]}
    row["command"] = f"simulacra train --steps {tractable.STEPS['nade']} x"
    lost = RAN | {"command": "simulacra train --steps 10 x", "failed": "training diverges: NaN at step 7"}
    failed, line = tractable.lines({"nade": row, "made": lost})
    assert len(line) == len(failed) == len(tractable.HEAD)
    assert failed[:2] == ["made", "diverges at step 7"]
    assert line[:6] == ["nade", "86.12 ± 0.23", "≤ 88.5", "85.65", "0.159", "exact"]
    assert line[7:9] == [tractable.STEPS["nade"], "1.00"]
    assert line[-2:] == ["99.0 86.1", f"`{row['command']}`"]


def test_a_shortened_row_says_so():
    whole = next(row for row in tractable.rows() if row.key == "pixelcnn")
    half = whole.shortened(0.5)
    assert (half.steps, half.run["evaluate_every"]) == (whole.steps // 2, str(whole.steps // 20))
    assert half.options == whole.options
    told = {"command": " ".join(["simulacra", *half.words])}
    assert whole.share(told) == "0.50, awaits GPU"
    assert half.share(told) == "1.00"


def test_visits_of_chains_by_hand():
    """Five ones, a guess, one 2, five ones again; four threes, a guess, six threes. Two changes in 23 steps."""
    first, second = [1] * 5 + [-1, 2] + [1] * 5, [3] * 4 + [-1] + [3] * 6 + [7]
    found = chains.visits(torch.tensor([first, second]))
    rates = {"changes": pytest.approx(100 * 3 / 24), "sure": pytest.approx(22 / 24)}
    assert found == {"once": [2, 2], "each": [1, 1], "all": 2, **rates}
    assert chains.stays(torch.tensor([4] * 4 + [-1] * 9)) == set()


def test_likeness_is_told_with_its_error():
    row = RAN | {"kid": [0.0125, 0.001], "kid_test": [0.02, None], "error": 12.345}
    (line,) = similarity.lines({"olivetti_faces-vae": row})
    assert line[:6] == ["olivetti_faces", "vae", "-", "12.50 ± 1.00", "20.00", "12.35"]


def test_a_gaussian_of_codes_has_their_moments():
    codes = torch.randn(500, 3) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]) + 3.0
    drawn = autoencoders.fitted(codes, torch.randn(20_000, 3))
    assert torch.allclose(drawn.mean(0), codes.mean(0), atol=0.05)
    assert torch.allclose(drawn.T.cov(), codes.T.cov(), atol=0.15)


def test_nats_are_told_beside_the_plain_vae_s_image_by_image():
    row = RAN | {"log_prob": [-90.0, 0.1], "iwae": [-88.0, 0.1], "iwae_5000": [-90.0, -80.0], "active": [20.0, 50.0]}
    (first, second) = nats.lines({"vae": row, "hvae": row | {"iwae_5000": [-88.0, -79.0]}})
    assert first[:6] == ["vae", "-90.00 ± 0.10", "-85.00 ± 5.00", "-", "-88.00 ± 0.10", "20 / 50"]
    assert second[3] == "+1.50 ± 0.50"


def test_seconds_of_a_run_are_those_of_all_its_goes(tmp_path):
    """From 10 to 13, killed; taken up at 100, until 105: 8 seconds."""
    lines = [{"event": "start", "time": 10}, {"step": 1, "time": 13}, {"data": {}, "at": 0}]
    lines += [{"event": "resume", "time": 100}, {"step": 2, "time": 105}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert tables.spent(tmp_path) == 8
    assert tables.spent(tmp_path / "nothing") == 0


def test_tables_add_to_what_another_process_has_added(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    one, other = (tables.Table("t", [], judge=lambda run: {}) for _ in range(2))
    one.keep("a", {"fid": 1})
    other.keep("b", {"fid": 2})
    assert one.done() == other.done() == {"a": {"fid": 1}, "b": {"fid": 2}}


def test_a_failed_row_is_told_in_short():
    said = "simulacra: training diverges: 'discriminator/gradient' of discriminator is not finite at step 82, after 3"
    assert tables.failure({"failed": said}) == "diverges at step 82"
    assert tables.failure({"failed": "something else"}) == "something else"
    assert tables.failure({}) == "-"


@pytest.mark.parametrize("recipe", ["vae", "avb"])
def test_the_sum_over_the_plane_is_the_integral_over_latents(recipe):
    """Against a mean over draws of the prior, and no four images have more than a quarter each."""
    torch.manual_seed(0)
    kind, spec = find(recipe), Spec(kind="image", shape=(1, 4, 4), classes=None)
    options = kind.options().with_overrides({"latent": "2", "width": "8"}, recipe)
    model = kind.build(spec, 100, options).model.eval()
    exact, n = toy_posterior.log_p(model).exp(), 20_000
    for k in range(4):
        drawn = model.likelihood_of(toy_posterior.CORNERS[k : k + 1])(model.prior(n)[None])[0].double().exp()
        assert abs(drawn.mean() - exact[k]) < 4.5 * drawn.std() / n**0.5
    assert exact.sum() < 1.0
    z = toy_posterior.drawn(model, 50)
    assert z.shape == (4, 50, 2)
    assert torch.unique(z.flatten(0, 1), dim=0).shape == (200, 2)


def test_only_finished_runs_are_judged_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    rows = [tables.Row(key, "gan", "ring", 5) for key in ("whole", "broken-off", "gone", "new")]
    table = tables.Table("t", rows, judge=lambda run: {"judged": run.name})
    for row in rows[:3]:
        table.keep(row.key, {"judged": "before"})
    steps = {"whole": 5, "broken-off": 3, "new": 5}
    monkeypatch.setattr(
        tables.RunFolder,
        "record",
        lambda self: {"ended": {"step": steps[self.path.name]}} if self.path.name in steps else None,
    )
    table.again(tmp_path, rows)
    assert {key: found["judged"] for key, found in table.done().items()} == {
        "whole": "whole",
        "broken-off": "before",
        "gone": "before",
    }


def test_real_values_stand_beside_one_gaussian():
    found = RAN | {"log_prob": [123.44, 2.0], "alone": [1.0, 3.0], "spread": 0.987}
    assert real_values.lines({"learned": found, "the-datas": RAN | {"failed": "training diverges at step 3"}}) == [
        ["learned", "123.4 ± 2.0", "2.00 ± 1.00", "0.99", 3, "`simulacra train`"],
        ["the data's", "diverges at step 3", "-", "-", 3, "`simulacra train`"],
    ]


def test_a_mixture_without_classes_names_none():
    found = {"log_prob": -5261.4, "error": 5379.2, "median": 2223.4, "fid": 102.62}
    done = {"gnb": RAN | found | {"classified": 0.5558}, "gmm": RAN | found | {"classified": None}}
    assert mixtures.lines(done) == [
        ["gnb", "-5261 ± 5379", "2223", "55.6%", "102.6", 2, 3, "`simulacra train`"],
        ["gmm", "-5261 ± 5379", "2223", "-", "102.6", 10, 3, "`simulacra train`"],
    ]


def test_differences_of_posteriors_are_of_means_over_seeds_by_hand():
    """Two images and two trainings of each: means of avb are 1 and 3, of vae 0 and 1, which differ by 1 and 2."""
    values = {"vae": [0.0, 0.0], "avb": [0.0, 4.0], "vae-1": [0.0, 2.0], "avb-1": [2.0, 2.0]}
    done = {key: {"hais": found, "iwae": found} for key, found in values.items()}
    assert implicit_posterior.beyond("hais", [0, 1], done) == "+1.50 ± 0.50"
    assert implicit_posterior.beyond("hais", [1], done) == "+1.00 ± 1.00"


def test_a_seed_that_only_one_of_two_models_has_is_no_part_of_their_difference():
    row = {"hais": [1.0, 2.0], "iwae": [1.0, 2.0], "log_prob": [-1.0, 0.1], "kind": "bound", "active": 8.0}
    row |= {"seconds": 1, "command": "simulacra"}
    found = implicit_posterior.lines(dict.fromkeys(("vae", "avb", "avb-1"), row) | {"avb-1": {"failed": "so"}})
    assert [line[:2] for line in found] == [["vae", 0], ["avb", 0]]
    found = implicit_posterior.lines(dict.fromkeys(("vae", "avb", "vae-1", "avb-1"), row))
    assert [line[:2] for line in found] == [["vae", 0], ["avb", 0], ["vae", 1], ["avb", 1], ["avb", "all"]]
    assert found[-1][3] == "+0.00 ± 0.00"
