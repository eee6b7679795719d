"""What a study costs, by numbers worked out by hand."""

import pytest
from conftest import ROOT

from loglearn_tf.datasets import load_dataset
from loglearn_tf.layers import build_compression
from loglearn_tf.layers.compression import COMPRESSIONS
from loglearn_tf.models import MODELS
from loglearn_tf.study.cost import (
    NEW_BESTS,
    NOT_POINTWISE,
    TABLE,
    Costs,
    Rates,
    Sounds,
    costs_of,
    estimate,
    expected_sounds,
    kind_of,
    memory_mib,
    parts_of_run,
    sounds_of,
    updates_of,
)
from loglearn_tf.study.cost_text import format_estimate, format_whole
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.settings import load_settings

# Every step takes a second, but for what a test is about.
NOTHING = Rates(run_s=0, compile_s=0, update_s=0, patch_s=0, frame_s=0, scored_s=0)
US8K = Sounds(10, {fold: 800 for fold in range(1, 11)}, (173,), 0, "for a test")


def study(*changes, name="us8k"):
    return load_settings(name, ["models=[timbre]", "compressions=[loglearn,logeps]", "folds=[1]", "runs=1", *changes])


def run_of(settings, n_shot=None):
    return next(spec for spec in plan_runs(settings) if n_shot in (None, spec.n_shot))


def of(settings, rates=NOTHING, *, start_s=0.0, clip_s=0.0, sounds=US8K, **more):
    costs = Costs({(m, c): rates for m in settings.models for c in settings.compressions}, start_s, clip_s, "Timed.")
    arguments = {"workers": 1, "cores": 2, "runs_per_worker": 50, **more}
    return estimate(settings, plan_runs(settings), sounds, costs, **arguments)


@pytest.mark.parametrize(
    ("n_shot", "updates", "patches"), [(1, 199, 10), (10, 199, 100), (25, 199, 250), (26, 398, 130), (100, 796, 250)]
)
def test_one_update_an_epoch_while_all_clips_fit_a_batch(n_shot, updates, patches):
    assert updates_of(study(), "timbre", n_shot, US8K) == (updates, patches)


@pytest.mark.parametrize(
    # 173 frames give 2 patches at hop 42; 50 queries an update.
    ("n_shot", "updates_an_epoch", "patches"),
    [(1, 0, 60), (2, 0, 70), (5, 2, 100), (10, 4, 100), (100, 40, 100)],
)
def test_updates_of_episodes(n_shot, updates_an_epoch, patches):
    settings = study("models=[prototypical]")
    assert updates_of(settings, "prototypical", n_shot, US8K) == ((201 + NEW_BESTS) * updates_an_epoch, patches)
    settings = study("models=[prototypical]", "episodic.patience=2", "protocol=clean")
    assert updates_of(settings, "prototypical", n_shot, US8K)[0] == (2 + NEW_BESTS) * updates_an_epoch


def test_parts_of_a_run():
    settings = study("training.epochs=50", "evaluation.gains_db=[-20,20]", "n_shot=10")
    rates = Rates(0.5, 9.0, update_s=0.01, patch_s=0.002, frame_s=1e-5, scored_s=1e-4, norm_s=0.003)
    parts = parts_of_run(settings, run_of(settings), US8K, rates)
    assert parts["start and compiling"] == 0.5
    assert parts["training"] == pytest.approx(50 * (0.01 + 100 * 0.002))
    # 800 clips of 173 frames and 46 patches, at three levels.
    assert parts["evaluation"] == pytest.approx(3 * 800 * (173e-5 + 46e-4))
    assert parts["settled score"] == pytest.approx(parts["evaluation"] + 8 * 100 * 0.003)
    unsettled = Rates(0.5, 9.0, 0.01, 0.002, 1e-5, 1e-4, is_settled=False)
    assert parts_of_run(settings, run_of(settings), US8K, unsettled)["settled score"] == 0


@pytest.mark.parametrize(
    ("n_shot", "batch_size", "epochs", "patches"),
    [(1, 256, 199, 80), (1, 256, 3, 30), (100, 100, 199, 1000), (30, 100, 199, 800), (30, 100, 1, 300)],
)
def test_patches_that_inner_normalisation_is_settled_with(n_shot, batch_size, epochs, patches):
    """Eight batches, or as many as show every clip, of those epochs that training had."""
    settings = study(f"n_shot={n_shot}", f"training.batch_size={batch_size}", f"training.epochs={epochs}")
    rates = Rates(0, 0, 0, 0, 0, 0, norm_s=1.0)
    assert parts_of_run(settings, run_of(settings), US8K, rates)["settled score"] == pytest.approx(patches)


def test_short_clips_are_filled_up_and_long_ones_have_more_patches():
    sounds = Sounds(10, {1: 800}, (60, 173, 431), 0, "")
    assert sounds.patches(1, 128) == (1 + 46 + 304) / 3 and sounds.patches(42, 128) == (1 + 2 + 8) / 3
    assert sounds.scored_frames(128) == (128 + 173 + 431) / 3


def test_workers_start_compile_and_are_replaced():
    settings = study("runs=10", "n_shot=1", "models=[timbre,sb_cnn]")  # 40 runs, 10 of each kind
    compiling = Rates(run_s=0, compile_s=1.0, update_s=0, patch_s=0, frame_s=0, scored_s=0)
    one = of(settings, compiling, start_s=100.0)
    assert one.parts["start and compiling"] == 100 + 4
    assert of(settings, compiling, start_s=100.0, workers=2).parts["start and compiling"] == 2 * (100 + 4)
    # After 20 runs a worker is replaced: it has done those of one network, and the next does those of the other.
    replaced = of(settings, compiling, start_s=100.0, runs_per_worker=20)
    assert replaced.parts["start and compiling"] == 2 * (100 + 2)


def test_episodes_are_compiled_for_every_size_of_the_support():
    settings = study("models=[prototypical]", "compressions=[logeps]", "n_shot=[1,2,5,10,20]")
    compiling = Rates(run_s=0, compile_s=1.0, update_s=0, patch_s=0, frame_s=0, scored_s=0)
    assert of(settings, compiling).parts["start and compiling"] == 3  # 1, 2 and 5 patches of every class


def test_by_the_clock():
    settings = study("runs=1", "n_shot=[1]")  # two runs
    rates = Rates(run_s=60, compile_s=0, update_s=0, patch_s=0, frame_s=0, scored_s=0)
    report = of(settings, rates).parts["report"]
    assert of(settings, rates).wall_s == pytest.approx(120 + report)
    assert of(settings, rates, workers=2).wall_s == pytest.approx(60 + report)
    # The third worker has nothing to do; four would share two cores.
    assert of(settings, rates, workers=3).wall_s == pytest.approx(60 + report)
    assert of(settings, rates, workers=2, cores=1).wall_s == pytest.approx(120 + report)
    # 80 clips to compute, half a second each, by both.
    with_features = of(settings, rates, workers=2, clip_s=0.5, sounds=Sounds(10, {1: 80}, (173,), 80, ""))
    assert with_features.wall_s == pytest.approx(60 + report + 20)


def test_what_finished_runs_took_comes_before_what_was_timed():
    settings = study("n_shot=[1]", "compressions=[loglearn]")
    rates = Rates(run_s=1, compile_s=5, update_s=0.01, patch_s=0, frame_s=0, scored_s=0)
    timed = of(settings, rates, known=lambda spec: 77.0)
    assert timed.seconds["timbre", 1] == pytest.approx(77) and timed.n_timed == 1
    assert "1 runs: estimated from finished runs" in format_estimate(timed)


def test_networks_of_which_nothing_is_known_are_counted():
    settings = study("models=[timbre,my_lab.nets:build]", "n_shot=[1]")
    costs = costs_of(settings, US8K)
    assert {model for model, _ in costs.networks} == {"timbre"}
    found = estimate(settings, plan_runs(settings), US8K, costs, workers=1, cores=1, runs_per_worker=50)
    assert found.unknown == 2 and "2 runs are not included" in format_estimate(found)
    alone = settings.model_copy(update={"models": ("my_lab.nets:build",)})
    nothing = estimate(alone, plan_runs(alone), US8K, costs_of(alone, US8K), workers=1, cores=1, runs_per_worker=50)
    assert "No time estimate for 2 runs" in format_estimate(nothing)


def test_the_table_follows_the_speed_that_was_measured():
    settings = study("models=[timbre,vgg]")
    twice = TABLE["timbre"].at(2)
    costs = costs_of(settings, US8K, measured={("timbre", ""): twice})
    assert costs.networks["timbre", "logeps"] == twice
    assert costs.networks["vgg", "logeps"].patch_s == pytest.approx(2 * TABLE["vgg"].patch_s)
    assert costs.start_s == pytest.approx(2 * costs_of(settings, US8K).start_s)
    # Of a machine of which nothing but the start of TensorFlow is known.
    start_s = 3 * costs_of(settings, US8K).start_s
    slow = costs_of(settings, US8K, start_s=start_s)
    assert slow.networks["vgg", "logeps"].patch_s == pytest.approx(3 * TABLE["vgg"].patch_s)


def test_the_table_has_every_network_and_knows_which_compressions_cut():
    assert set(TABLE) == {name for name in MODELS if MODELS.own(name)}
    names = [name for name in COMPRESSIONS if COMPRESSIONS.own(name)]
    assert {name for name in names if not type(build_compression(name)).pointwise} == set(NOT_POINTWISE)
    settings = study("compressions=[logeps,pcen,my_lab.layers:Mine]")
    assert [kind_of(settings, name) for name in settings.compressions] == ["", "pcen", "my_lab.layers:Mine"]
    costs = costs_of(settings, US8K).networks
    assert costs["timbre", "pcen"].scored_s > 0 == costs["timbre", "pcen"].frame_s


def test_data_that_are_not_there(us8k_root):
    whole = expected_sounds(study())
    assert whole.n_clips == whole.to_compute == 8732 and whole.clips[1] == 873 and max(whole.frames) == 173
    tut = expected_sounds(load_settings("tut"))
    assert (tut.n_classes, tut.clips, set(tut.frames)) == (15, {0: 4680, 1: 1620}, {431})
    assert expected_sounds(load_settings("folder", ["data.root=nowhere"])) is None
    made = "data.synthetic={clips_per_class: 2, folds: [1, 2, 3], duration_s: 2.0}"
    settings = study(made)
    expected = expected_sounds(settings)
    real = sounds_of(settings, load_dataset("us8k", us8k_root), seconds=[2.0], to_compute=0)
    assert expected.clips == real.clips and max(expected.frames) == real.frames[0]


def test_memory_grows_with_the_batch_and_the_clips():
    settings, rates = study("models=[vgg]"), TABLE["vgg"]
    needed = [memory_mib(settings, run_of(settings, n), US8K, rates) for n in (1, 10, 20, 100)]
    assert needed == sorted(needed) and needed[1] - needed[0] > 90 * rates.patch_mib
    # Two updates of 250 patches: as many at once as 25 clips a class.
    assert needed[3] - needed[2] < 100 * rates.patch_mib


def test_memory_of_prototypical_networks_is_that_of_their_runs():
    """`result.json` has 2,041 and 2,044 MiB (n = 5); with whole first maps it was 3,242."""
    settings = study("models=[prototypical]")
    assert 2044 < memory_mib(settings, run_of(settings, 5), US8K, TABLE["prototypical"]) < 1.25 * 2044


def test_the_text_names_what_takes_most_and_what_would_halve_it():
    settings = load_settings("us8k")
    sounds = expected_sounds(settings)
    specs = plan_runs(settings)
    found = estimate(settings, specs, sounds, costs_of(settings, sounds), workers=2, cores=2, runs_per_worker=50)
    text = format_estimate(found, machine_mib=4000)
    assert "prototypical at n = 100 takes 48 % of the time." in text
    assert "`models=[sb_cnn,vgg,timbre]`: " in text and "`n_shot=[1,2,5,10,20,50]`: " in text
    assert "One run of prototypical at n = 100 takes 14 h on one core" in text
    assert "That is too little: set `workers=1`." in text and "`episodic.patience`" in text
    cells = sum(found.seconds.values())
    assert sum(found.parts.values()) == pytest.approx(cells + found.parts["features"] + found.parts["report"])

    levels = study("evaluation.gains_db=[-40,-20,20]", "n_shot=[1]", "models=[sb_cnn]")
    scoring = Rates(run_s=0, compile_s=0, update_s=0, patch_s=0, frame_s=1, scored_s=0)
    assert "without `evaluation.gains_db`: 25 %" in format_estimate(of(levels, scoring))
    assert "sharing 2 cores" in format_estimate(of(levels, scoring, workers=8))
    ray = levels.model_copy(update={"ray": load_settings("us8k", ["ray=auto"]).ray})
    assert "cores the cluster has" in format_estimate(of(ray, scoring))
    assert format_whole([of(levels, scoring), of(levels, scoring)]).startswith("The whole study: about ")


def test_experiments_of_the_package_can_all_be_estimated():
    for path in sorted((ROOT / "experiments").glob("*.yaml")):
        if path.stem in ("us8k", "tut", "demo"):
            settings = load_settings(path)
            sounds = expected_sounds(settings)
            found = estimate(
                settings,
                plan_runs(settings),
                sounds,
                costs_of(settings, sounds),
                workers=2,
                cores=2,
                runs_per_worker=50,
            )
            assert found.wall_s > 60 and not found.unknown
