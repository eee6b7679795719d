"""Settings: the paper's numbers by default, every value can be overridden, nothing is misread in silence."""

import os
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from loglearn_tf.errors import ConfigError
from loglearn_tf.study.settings import Settings, load_settings, load_studies
from loglearn_tf.study.yaml_file import experiment_names, settings_file

EXPERIMENTS = ROOT / "experiments"
US8K, TUT = EXPERIMENTS / "us8k.yaml", EXPERIMENTS / "tut.yaml"

# The least that makes a study.
MINIMAL = """\
name: small
data:
  name: us8k
  root: data/UrbanSound8K
models: vgg
compressions: loglearn
n_shot: 1
folds: 1
runs: 1
"""


@pytest.fixture
def write(tmp_path):
    """Writes a settings file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def us8k(*overrides: str) -> Settings:
    return load_settings(US8K, overrides)


def refusal(path: Path | str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, overrides)
    return str(caught.value)


# ---- The paper's experiments (numbers: arXiv:1810.10274 and its code) -----------------------------------------


@pytest.mark.parametrize("path", [US8K, TUT], ids=lambda path: path.stem)
def test_the_papers_numbers(path):
    settings = load_settings(path)
    assert settings.protocol == "pons2018"
    assert settings.seed == 0
    assert settings.epochs == 199
    assert settings.training.learning_rate == 0.1
    assert settings.training.clip_norm == 5
    assert settings.training.l2 == 5e-4
    assert settings.training.batch_size == 256
    assert settings.evaluation.patch_hop == 1
    assert settings.n_shot == (1, 2, 5, 10, 20, 50, 100)
    assert [settings.runs_for(n) for n in settings.n_shot] == [20, 20, 10, 10, 5, 5, 5]
    assert set(settings.models) == {"sb_cnn", "vgg", "timbre", "prototypical"}
    episodic = {"n_support": 5, "n_query": 5, "patch_hop": 42, "patience": 200}
    assert settings.episodic.model_dump() == episodic
    assert set(settings.compressions) == {"loglearn", "logeps"}
    # The store holds mel power, from which both compressions train.
    assert settings.features.compression == "none"
    assert settings.features.front_end == {
        "sample_rate": 44100,
        "n_fft": 1024,
        "hop_length": 1024,
        "n_mels": 128,
        "f_min": 0.0,
        "f_max": None,
        "pad_mode": "reflect",
        "fft_dtype": "float64",
    }


def test_us8k_tests_on_all_ten_folds_and_leaves_out_the_next():
    settings = us8k()
    assert settings.data.name == "us8k"
    assert settings.folds == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    assert settings.data.validation_fold == "next"
    assert settings.study_dir == Path("runs/us8k")


def test_tut_has_one_split():
    settings = load_settings(TUT)
    assert settings.data.name == "tut"
    assert settings.folds == (1,)
    assert settings.study_dir == Path("runs/tut")


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        (["protocol=pons2018"], 199),  # its code loops 200 times and skips the first
        (["protocol=clean"], 200),
        (["protocol=clean", "training.epochs=3"], 3),
        (["training.epochs=null"], 199),
    ],
)
def test_epochs_follow_the_protocol_unless_given(overrides, epochs):
    settings = us8k(*overrides)
    assert settings.epochs == epochs
    assert settings.dump()["training"]["epochs"] == epochs
    assert settings.result_settings()["training"]["epochs"] == epochs


def test_the_defaults_are_the_papers(write):
    """A study that says nothing of training and front end does what the paper did."""
    minimal, paper = load_settings(write(MINIMAL)), us8k()
    assert minimal.result_settings() == paper.result_settings()


# ---- Overrides ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "value_of", "value"),
    [
        ("n_shot=[1,10]", lambda s: s.n_shot, (1, 10)),
        ("n_shot=10", lambda s: s.n_shot, (10,)),
        ("folds=[10, 3]", lambda s: s.folds, (10, 3)),
        ("folds=3", lambda s: s.folds, (3,)),
        ("models=vgg", lambda s: s.models, ("vgg",)),
        ("compressions=[logeps]", lambda s: s.compressions, ("logeps",)),
        ("seed=7", lambda s: s.seed, 7),
        ("name=us8k-11khz", lambda s: s.study_dir.name, "us8k-11khz"),
        ("data.root=/corpora/Urban Sound=8K", lambda s: s.data.root, "/corpora/Urban Sound=8K"),
        ("data.allow_missing=true", lambda s: s.data.allow_missing, True),
        ("training.learning_rate=1.0e-3", lambda s: s.training.learning_rate, 0.001),
        ("training.learning_rate=1", lambda s: s.training.learning_rate, 1.0),
        ("features.f_max=11025", lambda s: s.features.front_end["f_max"], 11025.0),
        ("workers=2", lambda s: s.workers, 2),
        ("workers=null", lambda s: s.workers, None),
        ("runs_dir=/results", lambda s: s.study_dir, Path("/results/us8k")),
    ],
)
def test_every_value_can_be_overridden(override, value_of, value):
    assert value_of(us8k(override)) == value


def test_an_override_leaves_its_neighbours():
    training = us8k("training.batch_size=10").training
    assert (training.batch_size, training.learning_rate, training.clip_norm) == (10, 0.1, 5.0)


def test_the_last_override_of_a_key_counts():
    assert us8k("seed=1", "seed=2").seed == 2


def test_one_number_of_runs_serves_every_n():
    settings = us8k("runs=2")
    assert [settings.runs_for(n) for n in (1, 20, 100)] == [2, 2, 2]


def test_runs_of_one_n():
    settings = us8k("runs.20=3")
    assert [settings.runs_for(n) for n in (10, 20, 50)] == [10, 3, 5]


@pytest.mark.parametrize("override", ["features.n_fft=511", "features.n_fft=0"])
def test_fft_sizes_are_even(override):
    with pytest.raises(ConfigError, match=r"`features\.n_fft` in the command line"):
        us8k(override)


def test_timbre_needs_bands_for_its_filters():
    with pytest.raises(ConfigError, match="must be at least 108 for TIMBRE.*Received: features.n_mels=64"):
        us8k("features.n_mels=64")
    assert us8k("features.n_mels=64", "models=[vgg]").features.n_mels == 64


@pytest.mark.parametrize("name", ["sb_cnn", "vgg", "prototypical"])
def test_the_others_need_a_band_that_outlasts_their_poolings(name):
    with pytest.raises(ConfigError, match="must be at least 32 for .*Received: features.n_mels=31.*or leave"):
        us8k("features.n_mels=31", f"models=[{name}]")
    assert us8k("features.n_mels=32", f"models=[{name}]").features.n_mels == 32


@pytest.mark.parametrize("key", ["data.root", "features.store_dir", "runs_dir"])
def test_a_tilde_is_the_home_folder(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    settings = us8k(f"{key}=~/sounds")
    section, _, name = key.rpartition(".")
    assert getattr(getattr(settings, section) if section else settings, name) == "/home/me/sounds"


def test_an_override_begins_a_section_that_the_file_lacks():
    assert us8k().data.synthetic is None
    synthetic = us8k("data.synthetic.seed=1").data.synthetic
    assert synthetic.seed == 1
    assert synthetic.clips_per_class == (10,)  # the default
    assert us8k("features.n_mels=112").features.n_mels == 112


def test_a_section_can_be_given_and_removed_as_a_whole():
    demo = EXPERIMENTS / "demo.yaml"
    assert load_settings(demo).data.synthetic is not None
    assert load_settings(demo, ["data.synthetic=null"]).data.synthetic is None
    synthetic = us8k("data.synthetic={clips_per_class: 2, folds: [1, 3]}").data.synthetic
    assert (synthetic.clips_per_class, synthetic.folds) == ((2,), (1, 3))


# ---- Names from outside the package ---------------------------------------------------------------------------


def test_names_from_outside_are_taken_and_not_imported():
    settings = us8k(
        "models=[vgg, no_such_module.nets:build_crnn]",
        "compressions=[logeps, no_such_module.layers:MyLog, low]",
        "variants.low.layer=no_such_module.layers:MyLog",
        "data.name=no_such_module.data:load",
        "folds=[12]",  # which there are, the data set knows
        "features.n_mels=32",
    )
    assert settings.models == ("vgg", "no_such_module.nets:build_crnn")
    assert settings.compression("low") == ("no_such_module.layers:MyLog", {})
    assert settings.result_settings()["data"]["name"] == "no_such_module.data:load"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("models=[my_lab/nets:build]", "`models` in the command line: must name a network"),
        ("models=['../nets:build']", "`models` in the command line: must name a network"),
        ("models=['my_lab.nets:']", "`models` in the command line: must name a network"),
        (f"models=['{'a' * 100}:build']", "`models` in the command line: must name a network"),
        ("data.name=nets:build:more", "`data.name` in the command line: must name a data set"),
        ("compressions=['my_lab.layers:my log']", "`compressions` must name a compression, your own as"),
        ("folds=[0]", "`folds` of us8k must be between 1 and 10. Received: fold 0"),
    ],
)
def test_names_that_are_none(override, message):
    assert message in refusal(US8K, override)


@pytest.mark.parametrize("fold", [0, 1_000_000_000])
def test_folds_of_any_data_set_begin_at_1(fold):
    message = f"`folds` of lab:load must be between 1 and 999,999,999. Received: fold {fold}."
    assert message in refusal(US8K, "data.name=lab:load", f"folds=[{fold}]")


def test_no_two_compressions_share_a_folder():
    message = refusal(US8K, "compressions=[lab:log,lab-log]", "variants.lab-log.layer=log")
    assert "`compressions` must differ in more than `:` and `-`" in message
    assert "Received: ['lab:log', 'lab-log']" in message


# ---- Earlier names of settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override", ["evaluation.hop=7", "evaluation={hop: 7}", "evaluation.patch_hop=7", "evaluation={patch_hop: 7}"]
)
def test_the_earlier_name_of_patch_hop(override, write):
    assert us8k(override).evaluation.patch_hop == 7
    assert us8k(override, "evaluation.hop=3").evaluation.patch_hop == 3
    earlier = write(MINIMAL + "evaluation: {hop: 5}\nparts: {a: {}, b: {evaluation: {hop: 6}}}\n")
    assert [settings.evaluation.patch_hop for settings in load_studies(earlier)] == [5, 6]
    assert {settings.evaluation.patch_hop for settings in load_studies(earlier, [override])} == {7}


def test_both_names_of_a_setting_are_one_too_many(write):
    path = write(MINIMAL + "evaluation: {hop: 5, patch_hop: 5}\n")
    assert refusal(path) == f"Unknown key `evaluation.hop` in {path}. Known keys: patch_hop, batch_size, gains_db."


def test_runs_are_known_by_the_earlier_name():
    assert us8k("evaluation.patch_hop=7").result_settings()["evaluation"] == {"hop": 7}


# ---- Errors: they name the key, the place, the rule, the value, the remedy ------------------------------------


@pytest.mark.parametrize(
    ("override", "key", "remedy"),
    [
        ("n_shots=[1]", "n_shots", "Did you mean `n_shot`?"),
        ("training.epoch=3", "training.epoch", "Did you mean `epochs`?"),
        ("data.synthetic.sed=1", "data.synthetic.sed", "Did you mean `seed`?"),
        ("data.synthetic={sed: 1}", "data.synthetic.sed", "Did you mean `seed`?"),
        ("evaluation.patches=3", "evaluation.patches", "Did you mean `patch_hop`?"),
        ("evaluation.speed=3", "evaluation.speed", "Known keys: patch_hop, batch_size, gains_db."),
        # A known key in the wrong section is unknown there.
        (
            "training.hop=1",
            "training.hop",
            "Known keys: epochs, batch_size, learning_rate, clip_norm, l2, gain_db, validation, validation_share, "
            "patience, optimizer, schedule, warmup_share, class_weights, precision.",
        ),
    ],
)
def test_unknown_key_on_the_command_line(override, key, remedy):
    assert refusal(US8K, override) == f"Unknown key `{key}` in the command line. {remedy}"


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        (MINIMAL + "protocoll: clean\n", "protocoll", "protocol"),
        (MINIMAL + "training: {learning-rate: 0.1}\n", "training.learning-rate", "learning_rate"),
        (MINIMAL.replace("  root:", "  synthetic: {seeds: 1}\n  root:"), "data.synthetic.seeds", "seed"),
    ],
    ids=["top level", "section", "section in a section"],
)
def test_unknown_key_in_a_file(write, text, key, nearest):
    path = write(text)
    assert refusal(path) == f"Unknown key `{key}` in {path}. Did you mean `{nearest}`?"
    # An override of something else does not draw the blame.
    assert f" in {path}. " in refusal(path, "seed=1", "training.epochs=3")


@pytest.mark.parametrize(
    ("override", "key", "rule", "received"),
    [
        ("training.epochs=ten", "training.epochs", "a valid integer", "'ten'"),
        ('training.epochs="10"', "training.epochs", "a valid integer", "'10'"),
        ("training.epochs=true", "training.epochs", "a valid integer", "True"),
        ("training.epochs=10.0", "training.epochs", "a valid integer", "10.0"),
        ("training.epochs=0", "training.epochs", "greater than or equal to 1", "0"),
        ("training.learning_rate=fast", "training.learning_rate", "a valid number", "'fast'"),
        ("training.learning_rate=true", "training.learning_rate", "a valid number", "True"),
        ("training.learning_rate=0", "training.learning_rate", "greater than 0", "0"),
        ("training.learning_rate=.nan", "training.learning_rate", "a finite number", "nan"),
        ("training.l2=.inf", "training.l2", "a finite number", "inf"),
        ("training.l2=-0.001", "training.l2", "greater than or equal to 0", "-0.001"),
        ("data.allow_missing=1", "data.allow_missing", "a valid boolean", "1"),
        ("data.root=2017", "data.root", "a valid string", "2017"),
        ("data.validation_fold=3", "data.validation_fold", "'next' or 'none'", "3"),
        ("data.synthetic.folds=[11]", "data.synthetic.folds", "less than or equal to 10", "11"),
        ("seed=-1", "seed", "greater than or equal to 0", "-1"),
        ("workers=0", "workers", "greater than or equal to 1", "0"),
        ("n_shot=[1,0]", "n_shot", "greater than or equal to 1", "0"),
        ("n_shot=[1,true]", "n_shot", "a valid integer", "True"),
        ("n_shot=", "n_shot", "a valid integer", "None"),
        ("n_shot=[]", "n_shot", "at least 1 item", "[]"),
        ("folds=first", "folds", "a valid integer", "'first'"),
        ("models=[vgg,lstm]", "models", "'sb_cnn', 'vgg', 'timbre', 'prototypical', or your own", "'lstm'"),
        ("data.name=esc50", "data.name", "a data set: 'us8k', 'tut', 'folder', or your own", "'esc50'"),
        ("data.name=my lab:load", "data.name", "as `module:attribute`", "'my lab:load'"),
        ("protocol=pons2019", "protocol", "'pons2018' or 'clean'", "'pons2019'"),
        ("runs=0", "runs", "greater than or equal to 1", "0"),
        ("runs=two", "runs", "a valid integer", "'two'"),
        # It names a folder: one that lies in `runs_dir`.
        ("name=../us8k", "name", "match pattern", "'../us8k'"),
        ("name=", "name", "a valid string", "None"),
        ("data=us8k", "data", "an object", "'us8k'"),
    ],
)
def test_wrong_value_on_the_command_line(override, key, rule, received):
    message = refusal(US8K, override)
    assert message.startswith(f"`{key}` in the command line: ")
    assert rule in message
    assert message.endswith(f" Received: {received}.")


@pytest.mark.parametrize(("number", "rule"), [("0", "greater than or equal to 1"), ("2.5", "a valid integer")])
def test_wrong_number_of_runs_of_one_n(number, rule):
    """Names the number, not the whole table it stands in."""
    message = refusal(US8K, "n_shot=[1,5]", f"runs={{1: 20, 5: {number}}}")
    assert message.startswith("`runs")
    assert rule in message
    assert message.endswith(f" Received: {number}.")


def test_wrong_value_in_a_file(write):
    path = write(MINIMAL + "training:\n  epochs: ten\n")
    message = refusal(path, "training.batch_size=3")
    assert message.startswith(f"`training.epochs` in {path}: ")
    assert message.endswith("Received: 'ten'.")


@pytest.mark.parametrize("value", ["1e-3", "5E4"])
def test_yaml_takes_1e_3_for_text(value):
    message = refusal(US8K, f"training.learning_rate={value}")
    assert f"Received: '{value}'. Write it with a decimal point: 1.0e-3." in message
    # The remedy helps.
    assert us8k("training.learning_rate=1.0e-3").training.learning_rate == 0.001


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("training.epochs='2'", "a valid integer, without quotes. Received: '2'."),
        ("training.learning_rate='0.1'", "a valid number, without quotes. Received: '0.1'."),
        ("training.learning_rate=fast", "a valid number. Received: 'fast'."),
        ("training.epochs=2.5", "a valid integer. Received: 2.5."),
        ("training.epochs='yes'", "a valid integer. Received: 'yes'."),
    ],
)
def test_a_number_in_quotes_is_text(override, rule):
    assert refusal(US8K, override).endswith(f"input should be {rule}")


@pytest.mark.parametrize("name", ["my study", "a/b", "_first", "Régen"])
def test_the_rule_of_names_is_said_in_words(name):
    message = refusal(US8K, f"name={name}")
    words = "letters without accents, digits, `_`, `.` and `-`, and a letter or digit first"
    assert message.endswith(f": {words}. Received: '{name}'.")


@pytest.mark.parametrize(
    ("text", "key", "misspelt"),
    [
        (MINIMAL.replace("models:", "model:"), "models", "model"),
        (MINIMAL.replace("n_shot:", "nshot:"), "n_shot", "nshot"),
        (MINIMAL.replace("  root:", "  roots:"), "data.root", "data.roots"),
    ],
)
def test_a_misspelt_key_is_not_called_missing(write, text, key, misspelt):
    path = write(text)
    assert refusal(path) == f"Unknown key `{misspelt}` in {path}. Did you mean `{key.split('.')[-1]}`?"


def test_a_missing_key_is_named(write):
    path = write(MINIMAL.replace("  root: data/UrbanSound8K\n", ""))
    assert refusal(path).startswith(f"Key `data.root` is missing in {path}.")


@pytest.mark.parametrize("fold", [0, 11, -1])
def test_us8k_has_folds_1_to_10(fold):
    message = refusal(US8K, f"folds=[1,{fold}]")
    assert f"`folds` of us8k must be between 1 and 10. Received: fold {fold}." in message


def test_tut_has_fold_1_only():
    assert "`folds` of tut must be [1], ASC-TUT's one split. Received: fold 2." in refusal(TUT, "folds=[1,2]")


@pytest.mark.parametrize(
    ("override", "axis", "received"),
    [
        ("models=[vgg,timbre,vgg]", "models", "['vgg', 'timbre', 'vgg']"),
        ("compressions=[logeps,logeps]", "compressions", "['logeps', 'logeps']"),
        ("n_shot=[1,1]", "n_shot", "[1, 1]"),
        ("folds=[2,1,2]", "folds", "[2, 1, 2]"),
    ],
)
def test_a_repeated_value_would_do_the_same_runs_twice(override, axis, received):
    assert f"`{axis}` must not repeat a value. Received: {received}." in refusal(US8K, override)


def test_every_n_needs_a_number_of_runs():
    message = refusal(US8K, "n_shot=[1,3]")
    assert "`runs` has no number of repetitions for n_shot=3" in message
    assert "Add `3: ...` to it" in message
    assert us8k("n_shot=[1,3]", "runs.3=10").runs_for(3) == 10


def test_the_logarithm_of_a_logarithm_is_refused():
    """The reference code would train on NaN: log-EPS features are negative."""
    message = refusal(US8K, "features.compression=logeps")
    assert "compression loglearn needs mel power" in message
    assert "`features.compression=logeps` stores logarithms" in message
    assert "Set `features.compression=none`, or `compressions=[none]`." in message
    assert "compression logeps needs" in refusal(US8K, "features.compression=logeps", "compressions=[none,logeps]")


@pytest.mark.parametrize("stored", ["none", "logeps"])
def test_no_compression_takes_any_features(stored):
    assert us8k(f"features.compression={stored}", "compressions=[none]").features.compression == stored


@pytest.mark.parametrize(
    ("overrides", "received"),
    [
        (["features.f_max=22051"], "f_min=0, f_max=22051"),
        (["features.f_min=11025", "features.f_max=11025"], "f_min=11025, f_max=11025"),
        (["features.f_min=22050"], "f_min=22050, f_max=None"),
        (["features.sample_rate=16000", "features.f_max=11025"], "f_min=0, f_max=11025"),
    ],
)
def test_bands_lie_below_half_the_sample_rate(overrides, received):
    message = refusal(US8K, *overrides)
    assert "`f_min` < `f_max` <= `sample_rate` / 2" in message
    assert f"Received: {received}" in message


def test_half_the_sample_rate_is_the_last_frequency():
    assert us8k("features.f_max=22050").features.f_max == 22050


@pytest.mark.parametrize("override", ["folds", "=1", "training..epochs=1", ".seed=1", "training.=1", ""])
def test_a_malformed_override(override):
    message = refusal(US8K, override)
    assert "must have the form key=value, such as n_shot=[1,10]." in message
    assert message.endswith(f"Received: {override!r}.")


def test_a_value_is_not_a_section():
    message = refusal(US8K, "data.root.folder=/x")
    assert "'data.root.folder=/x'" in message and "`root` is a value, not a section" in message


# ---- YAML: values only, each given once -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("name: a\nseed: 1\nname: b\n", "name", 3),
        ("name: a\ntraining:\n  epochs: 1\n  epochs: 2\n", "epochs", 4),
        ("runs: {1: 20, 2: 20, 1: 5}\n", "1", 1),
    ],
)
def test_a_key_given_twice(write, text, key, line):
    path = write(text)
    message = refusal(path)
    assert message.startswith(f"{path} is not valid YAML: key `{key}` is given twice")
    assert f"line {line}, " in message
    assert "key `1` is given twice" in refusal(US8K, "runs={1: 20, 1: 5}")


def test_the_same_key_in_two_sections_is_fine(write):
    settings = load_settings(write(MINIMAL + "training: {batch_size: 8}\nevaluation: {batch_size: 9}\n"))
    assert (settings.training.batch_size, settings.evaluation.batch_size) == (8, 9)


def test_yaml_makes_no_python_objects(write, tmp_path):
    victim = tmp_path / "made by YAML"
    tag = f"!!python/object/apply:os.mkdir ['{victim}']"
    message = refusal(write(MINIMAL + f"runs_dir: {tag}\n"))
    assert "is not valid YAML" in message and "python/object/apply:os.mkdir" in message
    assert "is not valid YAML" in refusal(US8K, f"runs_dir={tag}")
    assert not victim.exists()


@pytest.mark.parametrize("text", ["folds: [1\n", "name: a: b\n", "? [1]\n: 2\n", "a: \x00\n", "[" * 5000])
def test_broken_yaml(write, text):
    path = write(text)
    assert refusal(path).startswith(f"{path} is not valid YAML: ")


def test_a_broken_override():
    assert refusal(US8K, "folds=[1").startswith("the override 'folds=[1' is not valid YAML: ")


@pytest.mark.parametrize(("text", "received"), [("", "NoneType"), ("- name\n", "list"), ("us8k\n", "str")])
def test_a_file_without_keys(write, text, received):
    path = write(text)
    assert refusal(path) == f"{path} must contain `key: value` lines. Received: {received}."


def test_what_yaml_knows_and_no_setting_takes(write):
    """YAML reads an unquoted 2018-10-24 as a date."""
    path = write(MINIMAL.replace("name: small", "name: 2018-10-24"))
    message = refusal(path)
    assert message.startswith(f"{path} contains a value that no setting accepts")
    assert message.endswith("Use numbers, text or lists.")
    assert "'name=2018-10-24' is a date, which no setting accepts" in refusal(US8K, "name=2018-10-24")
    assert us8k('name="2018-10-24"').name == "2018-10-24"
    as_key = refusal(write(MINIMAL + "2018-10-24: x\n"))
    assert "a key must be text or a whole number; put text in quotes" in as_key and "line 10, column 1" in as_key


def test_a_table_without_spaces_after_its_colons():
    """YAML reads `{1:5}` as a key without a value."""
    assert refusal(US8K, "runs={1:5,10:2}") == (
        "A space must follow each colon in a table. Received: 'runs={1:5,10:2}'. Write 'runs={1: 5,10: 2}'."
    )
    assert load_settings(US8K, ["runs={1: 5, 10: 2}", "n_shot=[1,10]"]).runs == {1: 5, 10: 2}


def test_a_file_that_cannot_be_read(tmp_path):
    absent = tmp_path / "us9k.yaml"
    message = refusal(absent)
    assert message.startswith(f"Cannot read settings file {absent}: ")
    assert message.endswith("Name a YAML file or a built-in experiment: decisive, demo, folder, tut, us8k, why.")
    assert refusal(tmp_path).startswith(f"Cannot read settings file {tmp_path}: ")
    absent.write_bytes(b"name: \xff\n")
    assert refusal(absent).startswith(f"Cannot read settings file {absent}: ")


# ---- Once loaded ------------------------------------------------------------------------------------------------


def test_settings_are_frozen():
    settings = us8k()
    for section, key in [(settings, "seed"), (settings.training, "epochs"), (settings.features, "f_max")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 1)
    assert settings == us8k()


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_dump_loads_again(path, write):
    for settings in load_studies(path):
        again = load_settings(write(yaml.safe_dump(settings.dump())))
        # All that the dump adds is the protocol's number of epochs.
        part = [f"part={settings.part}"] if settings.part else []
        assert again == load_settings(path, [f"training.epochs={settings.epochs}", *part])
        assert again.dump() == settings.dump()
        assert again.result_settings() == settings.result_settings()


# ---- Compressions, their variants, and studies in parts ---------------------------------------------------------

VARIANTS = (
    MINIMAL.replace("compressions: loglearn", "compressions: [logeps, low]")
    + """\
variants:
  low: {layer: loglearn, args: {alpha_pre_gate: 16.0, trainable: false}}
"""
)
PARTS = (
    VARIANTS
    + """\
parts:
  full:
  half: {features: {f_max: 11025.0}, n_shot: [2, 5], data: {root: elsewhere}}
"""
)


def test_a_variant_is_a_layer_with_arguments(write):
    settings = load_settings(write(VARIANTS))
    assert settings.compression("low") == ("loglearn", {"alpha_pre_gate": 16.0, "trainable": False})
    assert settings.compression("logeps") == ("logeps", {})
    assert settings.result_settings()["variants"] == {
        "low": {"layer": "loglearn", "args": {"alpha_pre_gate": 16.0, "trainable": False}}
    }


def test_settings_without_variants_and_gain_identify_runs_as_before_there_were_any():
    assert "variants" not in us8k().result_settings()
    assert "gain_db" not in us8k().result_settings()["features"]
    assert us8k("features.gain_db=-20.0").result_settings()["features"]["gain_db"] == -20


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["compressions=[logepz]"], "Received: 'logepz'. Did you mean logeps."),
        (["compressions=[zzz]"], "Received: 'zzz'. Known: learned_relative_knee, log, log1p_learn, logeps,"),
        (["variants.mine.layer=logep"], "`variants.mine.layer` must name a compression"),
        (["variants.mine.layer=lowest"], "Received: 'lowest'."),
        (["variants.low.arg={a: 1}"], "Unknown key `variants.low.arg` in the command line. Did you mean `args`?"),
        (["variants.low.args={knee: 1e-8}"], "`args.knee` of a variant must be a finite number"),
        (["variants.low.args={knee: .inf}"], "`args.knee` of a variant must be a finite number"),
        (["variants.low.args={knee: 1e-8}"], "Received: '1e-8'. Write it with a decimal point: 1.0e-8"),
        (["variants.low-1e8={layer: log, args: 3}"], "`variants.low-1e8.args` in the command line"),
        (
            ["variants.logeps.layer=log"],
            "`variants` must not use the name of a built-in compression. Received: logeps",
        ),
        (["features.gain_db=-20.0", "save_models=true"], "`features.gain_db` must be 0 with `save_models`"),
    ],
)
def test_bad_compressions(write, overrides, message):
    assert message in refusal(write(VARIANTS), *overrides)


def test_a_variant_of_another_compression_takes_no_stored_logarithms_either(write):
    assert "compression low needs mel power" in refusal(
        write(VARIANTS), "features.compression=logeps", "compressions=[low]"
    )


def test_parts_differ_in_what_they_say(write):
    full, half = load_studies(write(PARTS))
    assert (full.part, full.features.f_max, full.n_shot, full.data.root) == ("full", None, (1,), "data/UrbanSound8K")
    assert (half.part, half.features.f_max, half.n_shot, half.data.root) == ("half", 11025, (2, 5), "elsewhere")
    assert half.data.name == "us8k" and half.variants == full.variants
    assert full.study_dir == Path("runs/small/full")


def test_overrides_go_over_what_a_part_says_and_choose_parts(write):
    path = write(PARTS)
    full, half = load_studies(path, ["n_shot=[7]", "data.root=there"])
    assert full.n_shot == half.n_shot == (7,)
    assert full.data.root == half.data.root == "there"
    assert [settings.part for settings in load_studies(path, ["part=half"])] == ["half"]
    assert [settings.part for settings in load_studies(path, ["part=[half,full]"])] == ["full", "half"]
    assert load_settings(path, ["part=half"]).part == "half"


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (PARTS, [], "has the parts full, half. Choose one: `part=full`."),
        (PARTS, ["part=third"], "one of the parts of"),
        (PARTS, ["part=[]"], "one of the parts of"),
        (PARTS, ["part={a: 1}"], "one of the parts of"),
        (MINIMAL + "parts: {1: {}, 2: {}}\n", ["part=3"], "one of the parts of"),
        (VARIANTS, ["part=full"], "has no parts. Omit `part=`."),
        (MINIMAL + "parts: 3\n", [], "must be a table of `name: settings`. Received: 3."),
        (MINIMAL + "parts: {}\n", [], "must be a table of `name: settings`. Received: {}."),
        (MINIMAL + "parts: {a: 3}\n", [], "must be a table of `name: settings`."),
        (MINIMAL + "parts: {a: {n_shots: 2}}\n", [], "Unknown key `n_shots` in "),
        (MINIMAL + "parts: {a/b: {n_shot: 2}}\n", [], "`part` in "),
    ],
)
def test_bad_parts(write, text, overrides, message):
    assert message in refusal(write(text), *overrides)


def test_merge_keys_serve_parts_that_resemble_each_other(write):
    parts = "parts:\n  a: &a {n_shot: [3], folds: [2]}\n  b: {<<: *a, folds: [4]}\n"
    first, second = load_studies(write(MINIMAL + parts))
    assert (second.n_shot, second.folds) == ((3,), (4,))
    assert (first.n_shot, first.folds) == ((3,), (2,))


def test_a_table_that_overrides_what_it_merges_may_itself_be_merged(write):
    """By one that is less deep, and so is made before it."""
    more = "parts:\n  a: {evaluation: &m {<<: &x {patch_hop: 1}, patch_hop: 2}}\nevaluation: {<<: *m}\n"
    assert [settings.evaluation.patch_hop for settings in load_studies(write(MINIMAL + more))] == [2]


def test_the_folds_of_own_recordings_are_any(write):
    text = MINIMAL.replace("name: us8k", "name: folder")
    assert load_settings(write(text), ["folds=[12]"]).folds == (12,)
    for fold in (0, 1_000_000_000):
        assert "`folds` of folder must be between 1 and 999,999,999" in refusal(write(text), f"folds=[{fold}]")
    assert "`data.synthetic` supports the layouts of us8k and tut" in refusal(
        write(text), "data.synthetic={clips_per_class: 3}"
    )


@given(
    seed=st.integers(0, 2**64),
    learning_rate=st.floats(1e-300, 1e300),
    l2=st.just(0.0) | st.floats(1e-12, 1.0),
    epochs=st.integers(1, 10**6),
    root=st.text(st.characters(min_codepoint=32, max_codepoint=0x3FF, exclude_categories=["Cc"]), min_size=1),
    runs=st.integers(1, 50) | st.fixed_dictionaries({1: st.integers(1, 50), 20: st.integers(1, 50)}),
    folds=st.lists(st.integers(1, 10), min_size=1, unique=True),
)
@hypothesis_settings(derandomize=True, deadline=None, max_examples=40)
def test_any_settings_survive_yaml(tmp_path_factory, seed, learning_rate, l2, epochs, root, runs, folds):
    """To the last bit: 1e-05 is written as 1.0e-05, a root named `null` or `2017` in quotes."""
    settings = Settings(
        name="any",
        seed=seed,
        data={"name": "us8k", "root": root},
        models=["vgg"],
        compressions=["loglearn"],
        n_shot=[1, 20],
        folds=folds,
        runs=runs,
        training={"learning_rate": learning_rate, "l2": l2, "epochs": epochs},
    )
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    path.write_text(yaml.safe_dump(settings.dump(), allow_unicode=True), encoding="utf-8")
    assert load_settings(path) == settings


@pytest.mark.parametrize(
    "override",
    [
        # Where and how fast, not what.
        "workers=3",
        "runs_dir=/elsewhere",
        "name=other",
        "save_models=true",
        "data.root=/elsewhere",
        "data.allow_missing=true",  # the clips that are there are part of the run's identity (study.py)
        "features.store_dir=/elsewhere",
        "evaluation.batch_size=7",
        # The grid: each run says its own cell.
        "folds=[3]",
        "n_shot=[5]",
        "models=[vgg]",
        "compressions=[logeps]",
        "runs=1",
        # The default said aloud.
        "training.epochs=199",
    ],
)
def test_a_finished_run_stays_valid_when_this_changes(override):
    assert us8k(override) != us8k()
    assert us8k(override).result_settings() == us8k().result_settings()


@pytest.mark.parametrize(
    "override",
    [
        "protocol=clean",
        "seed=1",
        "data.validation_fold=none",
        "training.epochs=200",
        "training.batch_size=128",
        "training.learning_rate=0.01",
        "training.clip_norm=1.0",
        "training.l2=0.0",
        "evaluation.patch_hop=42",
        "features.sample_rate=48000",
        "features.n_fft=2048",
        "features.hop_length=512",
        "features.n_mels=112",
        "features.f_min=20",
        "features.f_max=11025",
        "features.pad_mode=constant",
        "features.fft_dtype=float32",
    ],
)
def test_a_finished_run_is_done_again_when_this_changes(override):
    assert us8k(override).result_settings() != us8k().result_settings()


def test_stored_logarithms_are_another_experiment():
    without = us8k("compressions=[none]")
    stored = us8k("compressions=[none]", "features.compression=logeps")
    assert stored.result_settings() != without.result_settings()


# ---- Hostile files ------------------------------------------------------------------------------------------------


def laughs(n: int) -> str:
    """A billion laughs: each line holds ten of the one before."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    for at in range(1, n):
        lines.append(f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]")
    return "\n".join(lines)


def merges(n: int, listed: bool) -> str:
    """Each table merges the one before twice."""
    lines = ["m0: &m0 {x: 1, y: 2}"]
    for at in range(1, n):
        twice = f"<<: [*m{at - 1}, *m{at - 1}]" if listed else f"<<: *m{at - 1}, <<: *m{at - 1}"
        lines.append(f"m{at}: &m{at} {{{twice}}}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (laughs(12), "at most 20,000 values"),
        (laughs(12) + "\n? *a11\n: 1", "at most 20,000 values"),
        (laughs(3) + "\n? *a2\n: 1", "a key must be text or a whole number"),
        (laughs(3) + "\n? [*a2]\n: 1", "a key must be text or a whole number"),
        ("true: 1", "a key must be text or a whole number"),
        ("1" * 101 + ": 1", "a key must be text or a whole number"),
        (f"a: &a {'x' * 50_000}\nmodels: [{'*a, ' * 19_000}]", ", 262,144 characters in total"),
        (f"? &a {'x' * 50_000}\n: [{', '.join(['{*a : 1}'] * 10)}]", ", 262,144 characters in total"),
        ("models: [" + "a, " * 19_999 + "a]", "at most 20,000 values"),
        ("seed: 1" + ":1" * 130_000, "a number may have at most 100 characters. Received: 260,001"),
        ("seed: 1" + ":0" * 180 + ".5", "a number may have at most 100 characters"),
        ("parts: 0x" + "f" * 4000, "a number may have at most 100 characters"),
        ("a: &a [*a]", "nested at most 20 deep"),
        ("a: &a {b: *a}", "nested at most 20 deep"),
        (merges(40, listed=True), "`<<` must merge one table"),
        (merges(40, listed=False), "key `<<` is given twice"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested at most 20 deep"),
        ("a: " + "{a: " * 3000, "nested at most 20 deep"),
        ("a: " + "[" * 30 + "]" * 30, "nested at most 20 deep"),
        ("# " + "x" * (1 << 18), "may have at most 262,144 bytes"),
        ("a: !!python/object/apply:os.system [echo]", "tags are not supported"),
        ("a: !!python/name:os.system", "tags are not supported"),
        ("a: !mine 3", "tags are not supported"),
        ("seed: !!bool x", "tags are not supported"),
        ('seed: !!int ""', "tags are not supported"),
        ("seed: !!timestamp x", "tags are not supported"),
        ("seed: !!float {=: 1}", "tags are not supported"),
        ('a: "\\ud800"', "is not valid YAML"),
        ('a: "\\Uffffffff"', "is not valid YAML"),
        ("a: 2001-99-99", "is not valid YAML"),
        (
            MINIMAL + f"parts: {{{', '.join(f'p{at}: ' for at in range(1001))}}}",
            "at most 1,000 entries. Received: 1,001",
        ),
        ("n_shot: " + "9" * 5000, "a number may have at most 100 characters. Received: 5,000"),
        ("a: \x00", "is not valid YAML"),
        ("--- a\n--- b", "is not valid YAML"),
    ],
    ids=lambda value: value[:20] if len(value) > 20 else value,
)
def test_a_hostile_file_is_refused_at_once(write, text, message):
    began = time.process_time()
    refused = refusal(write(text))
    assert message in refused
    assert len(refused) < 1000 and refused.isprintable()
    assert time.process_time() - began < 2


def pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with names")
    os.mkfifo(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pipe, "not a regular file"),
        (Path.mkdir, "not a regular file"),
        (sparse, "it may have at most 262,144 bytes"),
        (lambda path: path.write_bytes(b"\xff"), "can't decode"),
    ],
    ids=["pipe", "folder", "1 GB", "not UTF-8"],
)
def test_what_is_no_settings_file_is_not_read(make, message, tmp_path):
    path = tmp_path / "mine.yaml"
    make(path)
    refused = refusal(path)
    assert refused.startswith(f"Cannot read settings file {path}: ") and message in refused


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000, "/dev/zero"])
def test_names_of_settings_files_that_cannot_be(name):
    assert refusal(Path(name)).startswith("Cannot read settings file ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("runs=1000000", "A grid may have at most 1,000,000 runs"),
        ("runs=" + "9" * 4000, "a number may have at most 100 characters"),
        ("runs=" + "9" * 100, "`runs`"),
        ("runs={" + "9" * 99 + ": 1}", "`runs`"),
        ("n_shot=1" + "0" * 300, "a number may have at most 100 characters"),
        ("n_shot=1000001", "`n_shot`"),
        ("seed=" + "9" * 99, "`seed`"),
        ("evaluation.hop=" + "9" * 99, "`evaluation.patch_hop`"),
        ("episodic.n_query=" + "9" * 99, "`episodic.n_query`"),
        ("data.synthetic.clips_per_class=" + "9" * 99, "`data.synthetic.clips_per_class`"),
        ("data.synthetic.duration_s=1.0e+30", "`data.synthetic.duration_s`"),
        ('runs_dir="a\\0b"', "`runs_dir` in the command line: a path must not contain NUL"),
        ('data.root="a\\0b"', "`data.root` in the command line: a path must not contain NUL"),
        ('features.store_dir="~\\0"', "`features.store_dir` in the command line: a path must not contain NUL"),
        ("data.root=/data/" + "ä" * 128, "`data.root` in the command line: a path may have at most 3,500 bytes, and"),
        ("runs_dir=" + "a/" * 2000, "`runs_dir` in the command line: a path may have at most 3,500 bytes"),
        ("name=" + "a" * 101, "`name`"),
        ("ray=head:65536", "`ray.address` in the command line: must be a host name and a port up to 65535"),
        (f"ray={'a' * 64}:1", "`ray.address` in the command line: must be a host name and a port"),
        ('ray="a\\0b:1"', "`ray.address`"),
        ("variants={" + "a" * 101 + ": {layer: log}}", "at most 100 characters"),
        ("data" + ".a" * 5000 + "=1", "An override must name a setting"),
        ("n_shot=.inf", "`n_shot`"),
        ("training.learning_rate=.inf", "`training.learning_rate`"),
        ("training.epochs=1000000000", "`training.epochs`"),
        ("training.batch_size=1000000000000", "`training.batch_size`"),
        ("features.n_fft=4294967296", "`features.n_fft`"),
        ("features.n_mels=1000000", "`features.n_mels`"),
        ("features.sample_rate=1000000000", "`features.sample_rate`"),
        ("workers=1000000", "`workers`"),
        ("name=../../elsewhere", "`name`"),
        ("name=/etc", "`name`"),
        ("n_shot=" + "[" * 100 + "]" * 100, "nested at most 20 deep"),
    ],
)
def test_huge_and_strange_values_are_refused_with_their_key(override, message):
    refused = refusal(US8K, override)
    assert message in refused
    assert len(refused) < 1000 and refused.isprintable()


# ---- Experiments of the package, by name ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["decisive", "demo", "folder", "tut", "us8k", "why"])
def test_an_experiment_of_the_package_by_name_is_the_file_linked_in_the_checkout(name, tmp_path, monkeypatch):
    file = ROOT / "experiments" / f"{name}.yaml"
    monkeypatch.chdir(tmp_path)
    assert load_studies(name) == load_studies(file)
    assert settings_file(name).samefile(file)


def test_the_checkout_links_every_experiment_of_the_package():
    links = {path.stem: path for path in (ROOT / "experiments").glob("*.yaml")}
    assert sorted(links) == experiment_names()
    assert all(path.is_symlink() and not path.readlink().is_absolute() for path in links.values())


def test_a_name_is_the_packages_and_a_folder_or_suffix_makes_it_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in (Path("us8k"), Path("us8k.yaml"), Path("mine")):
        file.write_text(MINIMAL)  # its name is `small`
    assert load_settings("us8k").name == "us8k"
    for text in ("./us8k", "us8k.yaml", str(tmp_path / "us8k"), Path("us8k"), "./mine", Path("mine")):
        assert load_settings(text).name == "small"
    assert settings_file("us8k").is_file() and settings_file("mine.yml") == Path("mine.yml")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("us9k", "Did you mean us8k? Write a file"), ("mine", "'mine'. Write a file"), ("", "''. Write a file")],
)
def test_a_name_that_no_experiment_has(name, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text(MINIMAL)
    message = refusal(name)
    assert "a built-in experiment: decisive, demo, folder, tut, us8k, why. Received: " in message
    assert hint in message
    assert message.endswith("Write a file with its folder or suffix, for example ./study or study.yaml.")


class TestTrainingGains:
    def test_none_by_default_and_then_no_part_of_a_runs_identity(self):
        settings = load_settings("us8k")
        assert settings.training.gain_db is None
        assert "gain_db" not in settings.result_settings()["training"]
        louder = load_settings("us8k", ["training.gain_db=[-20,20]", "models=[timbre]"])
        assert louder.training.gain_db == (-20, 20)
        assert louder.result_settings()["training"]["gain_db"] == [-20, 20]

    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            (["training.gain_db=[20,-20]"], r"must be \[low, high\], low below high. Received: \[20.0, -20.0\]"),
            (["training.gain_db=[3,3]"], "low below high"),
            (["training.gain_db=20"], "`training.gain_db` in the command line"),
            (["training.gain_db=[-20,0,20]"], "`training.gain_db` in the command line"),
            (["training.gain_db=[-900,20]"], "greater than or equal to -200"),
            (
                ["training.gain_db=[-20,20]", "models=[timbre,prototypical]"],
                "does not apply to prototypical, which tr",
            ),
            (
                ["training.gain_db=[-20,20]", "features.compression=logeps", "compressions=[none]"],
                "changes mel power, but `features.compression` stores logarithms",
            ),
        ],
    )
    def test_what_is_refused(self, overrides, says):
        with pytest.raises(ConfigError, match=says):
            load_settings("us8k", ["models=[timbre]", *overrides])


def test_other_levels_in_evaluation():
    assert load_settings("us8k").evaluation.gains_db == ()
    assert load_settings("us8k").result_settings()["evaluation"] == {"hop": 1}
    asked = load_settings("us8k", ["evaluation.gains_db=[-40,20]"])
    assert asked.result_settings()["evaluation"] == {"hop": 1, "gains_db": [-40, 20]}
    with pytest.raises(ConfigError, match=r"`evaluation.gains_db` must not repeat a value. Received: \[3.0, 3.0\]"):
        load_settings("us8k", ["evaluation.gains_db=[3,3]"])
    with pytest.raises(ConfigError, match="`evaluation.gains_db` changes mel power, but"):
        load_settings("us8k", ["evaluation.gains_db=-40", "features.compression=logeps", "compressions=[none]"])


@pytest.mark.parametrize("model", ["timbre", "prototypical"])
def test_runs_of_before_other_levels_stay_valid_and_those_without_them_are_others(us8k, model):
    from loglearn_tf.study.grid import identity_differences, identity_of, plan_runs, run_identity

    settings = load_settings("us8k", [f"models=[{model}]"])
    spec = plan_runs(settings)[0]
    made = identity_of(spec, run_identity(settings, us8k))
    made["reads"] = [one for one in made["reads"] if one != "evaluation.gains_db"]  # as an earlier version left it
    assert identity_differences(run_identity(settings, us8k), made) == []
    today = identity_of(spec, run_identity(settings, us8k))
    asked = load_settings("us8k", [f"models=[{model}]", "evaluation.gains_db=-40"])
    assert identity_differences(run_identity(asked, us8k), today) in (
        ["evaluation.gains_db: None -> [-40.0]"],
        ["evaluation: None -> {'gains_db': [-40.0]}"],
    )
