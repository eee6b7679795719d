"""The grid of runs: as large as the paper's, in pairs that differ in compression alone."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.errors import ConfigError
from loglearn_tf.study.grid import (
    RunSpec,
    check_grid,
    differences,
    identity_differences,
    identity_of,
    plan_runs,
    run_identity,
    saved_identity,
)
from loglearn_tf.study.settings import Settings, load_settings

EXPERIMENTS = ROOT / "experiments"
US8K, TUT = EXPERIMENTS / "us8k.yaml", EXPERIMENTS / "tut.yaml"


def plan(*overrides: str, path: Path = US8K) -> list[RunSpec]:
    return plan_runs(load_settings(path, overrides))


# ---- The grid -------------------------------------------------------------------------------------------------


# 75 runs of a model, compression and fold: 20 + 20 + 10 + 10 + 5 + 5 + 5.
@pytest.mark.parametrize(("path", "n_folds", "n_runs"), [(US8K, 10, 6000), (TUT, 1, 600)], ids=["us8k", "tut"])
def test_the_papers_grid(path, n_folds, n_runs):
    specs = plan(path=path)
    assert len(specs) == n_runs
    assert len(set(specs)) == n_runs
    cells = Counter((spec.model, spec.compression, spec.fold) for spec in specs)
    assert len(cells) == 4 * 2 * n_folds
    assert set(cells.values()) == {75}
    repetitions = Counter((spec.n_shot, spec.run) for spec in specs)
    expected = {1: 20, 2: 20, 5: 10, 10: 10, 20: 5, 50: 5, 100: 5}
    assert set(repetitions) == {(n, run) for n, runs in expected.items() for run in range(runs)}


def test_a_narrowed_grid():
    specs = plan("models=vgg", "compressions=logeps", "n_shot=[1,10]", "folds=3", "runs=2", "seed=4")
    assert specs == [
        RunSpec("us8k", "vgg", "logeps", 10, 3, 0, 4),
        RunSpec("us8k", "vgg", "logeps", 10, 3, 1, 4),
        RunSpec("us8k", "vgg", "logeps", 1, 3, 0, 4),
        RunSpec("us8k", "vgg", "logeps", 1, 3, 1, 4),
    ]


def test_compressions_of_a_pair_are_neighbours():
    specs = plan("models=[timbre,vgg]")
    for one, other in zip(specs[::2], specs[1::2], strict=True):
        assert (one.compression, other.compression) == ("loglearn", "logeps")
        assert replace(one, compression="logeps") == other


def test_the_longest_runs_come_first():
    """Time grows with n and from SB-CNN over TIMBRE and VGG to prototypical; no long run is left for the end."""
    models = "models=[sb_cnn,timbre,vgg,prototypical]"
    order = [(spec.model, spec.n_shot) for spec in plan("folds=[1,2]", "runs=1", "n_shot=[1,100]", models)]
    changes = [step for at, step in enumerate(order) if at == 0 or step != order[at - 1]]
    assert changes == [
        ("prototypical", 100), ("vgg", 100), ("timbre", 100), ("sb_cnn", 100),
        ("prototypical", 1), ("vgg", 1), ("timbre", 1), ("sb_cnn", 1),
    ]  # fmt: skip
    order = [(spec.model, spec.n_shot) for spec in plan("folds=1", "runs=1", "n_shot=[5,100]", models)]
    assert order[::2][:3] == [("prototypical", 100), ("prototypical", 5), ("vgg", 100)]


def test_networks_whose_cost_is_unknown_come_before_all_others():
    """They may be the longest."""
    specs = plan("folds=1", "runs=1", "n_shot=[1,100]", "models=[vgg,lab.nets:b,prototypical,lab.nets:a]")
    assert [(spec.model, spec.n_shot) for spec in specs[::2]] == [
        ("lab.nets:a", 100), ("lab.nets:b", 100), ("lab.nets:a", 1), ("lab.nets:b", 1),
        ("prototypical", 100), ("vgg", 100), ("prototypical", 1), ("vgg", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "folder"),
    [
        (RunSpec("us8k", "vgg", "loglearn", 10, 1, 0, 0), "us8k/vgg/loglearn/n010/fold01/run00"),
        (RunSpec("us8k", "sb_cnn", "logeps", 100, 10, 19, 0), "us8k/sb_cnn/logeps/n100/fold10/run19"),
        (RunSpec("tut", "timbre", "none", 1, 1, 7, 3), "tut/timbre/none/n001/fold01/run07"),
        (
            RunSpec("lab.data:load", "lab.nets:crnn", "lab:log", 1, 1, 7, 3),
            "lab.data-load/lab.nets-crnn/lab-log/n001/fold01/run07",
        ),
    ],
)
def test_folders(spec, folder):
    assert spec.folder.as_posix() == folder


@pytest.mark.parametrize("path", [US8K, TUT], ids=["us8k", "tut"])
def test_every_run_has_a_folder_of_its_own(path):
    specs = plan(path=path)
    assert len({spec.folder for spec in specs}) == len(specs)


def test_a_run_says_what_it_is():
    assert RunSpec("us8k", "vgg", "loglearn", 10, 3, 4, 0).describe() == "vgg loglearn n=10 fold 3 run 4"


# ---- Seeds: what pairs share ----------------------------------------------------------------------------------

VGG = RunSpec("us8k", "vgg", "loglearn", 10, 1, 0, 0)


@pytest.mark.parametrize("purpose", ["weights", "patches"])
@pytest.mark.parametrize("compression", ["logeps", "none"])
def test_compressions_share_weights_and_patches(purpose, compression):
    assert replace(VGG, compression=compression).seed_for(purpose) == VGG.seed_for(purpose)


def test_networks_share_patches_and_not_weights():
    timbre = replace(VGG, model="timbre")
    assert timbre.seed_for("patches") == VGG.seed_for("patches")
    assert timbre.seed_for("weights") != VGG.seed_for("weights")


@pytest.mark.parametrize("purpose", ["weights", "patches"])
@pytest.mark.parametrize("change", [{"dataset": "tut"}, {"n_shot": 5}, {"fold": 2}, {"run": 1}, {"seed": 1}])
def test_nothing_else_is_shared(purpose, change):
    assert replace(VGG, **change).seed_for(purpose) != VGG.seed_for(purpose)


def test_seeds_are_distinct_over_the_papers_grid():
    """Cells that may share: compressions, and for patches networks."""
    specs = plan() + plan(path=TUT)
    weights = {spec.seed_for("weights") for spec in specs}
    patches = {spec.seed_for("patches") for spec in specs}
    assert len(weights) == (6000 + 600) // 2
    assert len(patches) == (6000 + 600) // 2 // 4
    assert not weights & patches


# ---- The grid against the data --------------------------------------------------------------------------------


@pytest.fixture
def dataset() -> DataSet:
    """Folds 1 and 2 of five dog barks each, but four sirens in fold 2; each trains for the other."""
    clips = [
        Clip(f"{fold}-{label}-{number}.wav", Path("x.wav"), label, fold)
        for fold in (1, 2)
        for label in (0, 1)
        for number in range(4 if (fold, label) == (2, 1) else 5)
    ]
    return DataSet("us8k", Path("data"), ("dog_bark", "siren"), tuple(clips), {1: (2,), 2: (1,), 3: (1, 2)})


def grid(*overrides: str) -> Settings:
    return load_settings(US8K, ["runs=1", *overrides])


def test_a_grid_that_fits(dataset):
    check_grid(grid("folds=[1,2]", "n_shot=[1,2,4]"), dataset)
    check_grid(grid("folds=[2]", "n_shot=[5]"), dataset)


@pytest.mark.parametrize("folds", ["[1,2]", "[2,1]"])
@pytest.mark.parametrize("n_shot", ["[1,5]", "[5,1]"])
def test_every_cell_is_checked_before_any_work(dataset, folds, n_shot):
    """n = 5 fits fold 2 and not fold 1."""
    with pytest.raises(ConfigError) as caught:
        check_grid(grid(f"folds={folds}", f"n_shot={n_shot}"), dataset)
    assert "with test fold 1, siren has 4 training clips" in str(caught.value)
    assert "Received: n_shot=5." in str(caught.value)


@pytest.mark.parametrize(
    ("folds", "message"),
    [("[1,3]", "Fold 3 has no clips in data, which has folds 1, 2"), ("[1,4]", "Received: fold 4")],
)
def test_a_fold_that_is_not_there(dataset, folds, message):
    with pytest.raises(ConfigError, match=message):
        check_grid(grid(f"folds={folds}", "n_shot=[1]"), dataset)


# ---- Whether a finished run still counts ----------------------------------------------------------------------


def test_the_identity_of_a_run(dataset):
    identity = run_identity(grid(), dataset)
    assert identity["clips"] == dataset.fingerprint
    assert identity["protocol"] == "pons2018"
    assert identity["training"]["epochs"] == 199
    # The grid may grow: a run's own cell is in its folder's name.
    assert run_identity(grid("folds=[2]", "n_shot=[3]", "runs=9", "models=vgg"), dataset) == identity
    assert run_identity(grid("training.epochs=20"), dataset) != identity
    assert run_identity(grid(), replace(dataset, clips=dataset.clips[1:])) != identity


# Network -> changes of settings that its trainer does not read.
UNREAD = {
    "timbre": ["episodic.patience=3", "episodic.n_support=1", "episodic.patch_hop=9"],
    "prototypical": ["training.epochs=3", "training.batch_size=9", "training.l2=0.1", "evaluation.patch_hop=9"],
}
READ_BY_BOTH = ["training.learning_rate=0.01", "training.clip_norm=1.0", "protocol=clean", "seed=1", "threads=2"]


@pytest.mark.parametrize("network", UNREAD)
@pytest.mark.parametrize("override", [*UNREAD["timbre"], *UNREAD["prototypical"], *READ_BY_BOTH])
@pytest.mark.parametrize("saved", ["now", "before identities named what was read"])
def test_a_run_depends_on_what_its_trainer_reads(network, override, saved, dataset):
    """And no more: a finished TIMBRE run stays valid when `episodic.patience` changes."""
    spec = replace(VGG, model=network)
    whole, changed = run_identity(grid(), dataset), run_identity(grid(override), dataset)
    identity = identity_of(spec, whole) if saved == "now" else whole
    found = identity_differences(changed, saved_identity({"model": network, "identity": identity}))
    if override in UNREAD[network]:
        assert found == []
    else:
        key = override.partition("=")[0].replace("evaluation.patch_hop", "evaluation.hop")
        assert any(line.startswith(f"{key}: ") for line in found)
    assert identity_differences(whole, saved_identity({"model": network, "identity": identity})) == []


def test_runs_of_two_networks_are_compared_by_what_both_read(dataset):
    vgg, prototypical = (replace(VGG, model=name) for name in ("vgg", "prototypical"))
    ours = identity_of(vgg, run_identity(grid("episodic.patience=3", "training.epochs=20"), dataset))
    theirs = identity_of(prototypical, run_identity(grid("evaluation.patch_hop=9"), dataset))
    assert identity_differences(ours, theirs) == []
    ours = identity_of(vgg, run_identity(grid("training.clip_norm=1.0"), dataset))
    assert identity_differences(ours, theirs) == ["training.clip_norm: 5.0 -> 1.0"]


def test_what_a_network_from_elsewhere_read_is_saved_with_its_run(dataset):
    """So that its module is not needed where runs are compared."""
    identity = identity_of(VGG, run_identity(grid(), dataset))
    result = {"model": "no_such_module.nets:crnn", "identity": identity}
    assert identity_differences(run_identity(grid("episodic.patience=3"), dataset), saved_identity(result)) == []
    assert identity_differences(run_identity(grid("training.l2=0.1"), dataset), saved_identity(result)) == [
        "training.l2: 0.0005 -> 0.1"
    ]


def test_differences_name_the_setting_the_saved_value_and_the_new_one():
    ours = {"protocol": "pons2018", "training": {"epochs": 20, "l2": 0.0005}, "clips": "abc"}
    theirs = {"protocol": "pons2018", "training": {"epochs": 199, "l2": 0.001}, "clips": "abc"}
    assert differences(ours, theirs) == ["training.epochs: 199 -> 20", "training.l2: 0.001 -> 0.0005"]
    assert differences(ours, ours) == []


def test_differences_see_what_only_one_side_has():
    """A setting that a later version adds is a difference, not an error."""
    new = {"features": {"n_fft": 1024, "fft_dtype": "float64"}}
    old = {"features": {"n_fft": 1024}}
    assert differences(new, old) == ["features.fft_dtype: None -> float64"]
    assert differences(old, new) == ["features.fft_dtype: float64 -> None"]
    assert differences({"data": {"name": "us8k"}}, {"data": "us8k"}) == ["data: us8k -> {'name': 'us8k'}"]


# ---- Settings that came later -------------------------------------------------------------------------------------

# Of a finished VGG run, as version 0.2 wrote it.
OF_BEFORE = {
    "protocol": "pons2018",
    "seed": 0,
    "threads": 1,
    "data": {"name": "us8k", "validation_fold": "next"},
    "features": {
        **{"sample_rate": 44100, "n_fft": 1024, "hop_length": 1024, "n_mels": 128, "f_min": 0.0, "f_max": None},
        **{"pad_mode": "reflect", "fft_dtype": "float64", "compression": "none"},
    },
    "training": {"epochs": 199, "batch_size": 256, "learning_rate": 0.1, "clip_norm": 5.0, "l2": 0.0005},
    "evaluation": {"hop": 1},
    "clips": "abc",
    "reads": ["training", "evaluation"],
}
NO_CHANGE = [
    *("features.patch_frames=128", "features.win_length=null", "features.win_length=1024", "features.window=hann"),
    *("features.mel_scale=slaney", "features.norm=slaney", "training.validation=none", "training.patience=7"),
    *("training.validation_share=0.3", "training.optimizer=sgd", "training.optimizer={name: sgd}"),
    *("training.schedule=constant", "training.class_weights=none", "training.warmup_share=0.0"),
    "training.precision=float32",
]
CHANGES = {
    "features.patch_frames=64": "features.patch_frames",
    "features.win_length=512": "features.win_length",
    "features.window=hamming": "features.window",
    "features.mel_scale=htk": "features.mel_scale",
    "features.norm=null": "features.norm",
    "training.validation=fold": "training.validation",
    "training.optimizer=adam": "training.optimizer",
    "training.optimizer={name: sgd, momentum: 0.9}": "training.optimizer",
    "training.schedule=cosine": "training.schedule",
    "training.class_weights=balanced": "training.class_weights",
    "training.precision=bfloat16": "training.precision",
}


def identity_now(*overrides):
    settings = load_settings(US8K, ["models=vgg", *overrides])
    identity = {**settings.result_settings(), "clips": "abc"}
    spec = plan_runs(settings)[0]
    return identity, identity_of(spec, identity)


def test_runs_of_before_are_those_of_today():
    identity, of_run = identity_now()
    assert of_run == OF_BEFORE
    assert identity_differences(identity, OF_BEFORE) == []


@pytest.mark.parametrize("override", NO_CHANGE)
def test_defaults_written_out_change_nothing(override):
    assert identity_now(override)[1] == OF_BEFORE


@pytest.mark.parametrize("override", CHANGES)
def test_what_is_used_is_another_study(override):
    (difference, *_) = identity_differences(identity_now(override)[0], OF_BEFORE)
    # A section that was not there is shown as a whole.
    assert difference.startswith(CHANGES[override])


def test_precision_counts_for_prototypical_networks_too():
    """Also beside runs from before, whose trainer did not read it."""

    def of_run(*overrides):
        settings = load_settings(US8K, ["models=prototypical", *overrides])
        return identity_of(plan_runs(settings)[0], {**settings.result_settings(), "clips": "abc"})

    before = of_run()
    assert "training.precision" not in before["reads"] and of_run("training.precision=float32") == before
    found = identity_differences(of_run("training.precision=bfloat16"), before)
    assert found == ["training.precision: None -> bfloat16"]


def test_of_validation_its_own_settings_count_too():
    ours = identity_now("training.validation=share", "training.patience=7")[0]
    theirs = identity_now("training.validation=share")[0]
    assert identity_differences(ours, theirs) == ["training.patience: None -> 7"]


def test_runs_of_all_clips_come_first_and_have_a_folder():
    specs = plan("models=[timbre,vgg]", "n_shot=[100,all]", "runs={100: 1, all: 2}", "folds=1")
    assert [(spec.model, spec.n_shot) for spec in specs[::2]] == [
        *[("vgg", "all")] * 2, *[("timbre", "all")] * 2, ("vgg", 100), ("timbre", 100)
    ]  # fmt: skip
    assert specs[0].folder == Path("us8k/vgg/loglearn/nall/fold01/run00")
    seeds = {spec.seed_for(purpose) for spec in specs[:4] for purpose in ("weights", "patches")}
    assert len(seeds) == 4  # of two runs; the compressions share them
