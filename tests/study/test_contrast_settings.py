"""Contrasts in a study's file: what is taken, and every way in which one can be wrong, told before any work."""

import pytest

from loglearn_tf.errors import ConfigError
from loglearn_tf.study.settings import load_settings, load_studies
from loglearn_tf.study.status import remember_settings, remembered_settings

GRID = """
name: study
data: {name: us8k, root: sounds}
models: [timbre, vgg]
compressions: [logeps, loglearn, log]
n_shot: [1, 5]
folds: [1, 2, 3]
runs: 4
"""
PARTS = (
    GRID
    + """
parts:
  a: {}
  b: {features: {gain_db: -20.0}}
  split: {folds: [1], runs: {1: 1, 5: 2}}
  elsewhere: {data: {root: others}}
"""
)


def studies(tmp_path, text, *overrides):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_studies(path, overrides)


def contrast(**more):
    fields = {"title": "T", "compression": "loglearn", "expect": "E", **more}
    return "{" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}"


def refusal(tmp_path, text, *overrides):
    with pytest.raises(ConfigError) as raised:
        studies(tmp_path, text, *overrides)
    return str(raised.value)


def test_what_is_left_out_is_all_of_the_grid(tmp_path):
    (settings,) = studies(tmp_path, GRID + f"contrasts: {{c: {contrast()}}}")
    found = settings.contrasts["c"]
    assert (found.baseline, found.score, found.minus_score, found.margin) == ("logeps", "settled", None, 0.02)
    cells = [(cell.model, cell.n_shot) for cell in found.cells([settings])]
    assert cells == [("timbre", 1), ("timbre", 5), ("vgg", 1), ("vgg", 5)]


def test_of_a_study_in_parts_each_part_knows_of_the_others(tmp_path):
    text = PARTS.replace("  split", "  # split") + f"contrasts: {{c: {contrast(n_shot=5, models='vgg')}}}"
    found = studies(tmp_path, text, "part=b")
    assert [settings.part for settings in found] == ["b"]
    assert found[0].contrasts["c"].parts == ("a", "b", "elsewhere")


def test_a_part_remembers_them(tmp_path):
    text = PARTS + f"contrasts: {{c: {contrast(parts='[a, b]')}}}"
    for settings in studies(tmp_path, text, f"runs_dir={tmp_path}"):
        remember_settings(settings)
        found = remembered_settings(settings.study_dir)
        assert (found.contrasts, found.part) == (settings.contrasts, settings.part)


def test_no_run_depends_on_them(tmp_path):
    (without,) = studies(tmp_path, GRID)
    (with_one,) = studies(tmp_path, GRID + f"contrasts: {{c: {contrast()}}}")
    assert without.result_settings() == with_one.result_settings()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"compression": "loglern"},
            "c.compression` in FILE must be in the grid. Received: 'loglern'. Did you mean log",
        ),
        ({"baseline": "power"}, "c.baseline` in FILE must be in the grid. Received: 'power'. Known: logeps, logle"),
        ({"models": "[sb_cnn]"}, "c.models` in FILE must be in the grid. Received: 'sb_cnn'. Known: timbre, vgg."),
        ({"n_shot": "[1, 2]"}, "c.n_shot` in FILE must be in the grid. Received: 2. Known: 1, 5."),
        ({"n_shot": "[]"}, "c.n_shot` in FILE: tuple should have at least 1 item"),
        ({"models": "[]"}, "c.models` in FILE: tuple should have at least 1 item"),
        ({"parts": "[]"}, "c.parts` in FILE: tuple should have at least 1 item"),
        ({"n_shot": "[1, 1]"}, "c.n_shot` in FILE must not repeat a value. Received: [1, 1]."),
        ({"n_shot": "'1'"}, "c.n_shot` in FILE: input should be a valid integer or `all`. Received: '1'."),
        ({"parts": "[a]"}, "c.parts` in FILE must be omitted: the study has no parts. Received: ['a']."),
        ({"baseline_parts": "[a]"}, "c.baseline_parts` in FILE must be omitted: the study has no parts."),
        ({"baseline": "loglearn"}, "c.baseline` in FILE must differ from `compression`, or come from other parts"),
        ({"minus_score": "settled"}, "c.minus_score` in FILE must be the other score than `score`. Received: 'settl"),
        ({"score": "best"}, "c.score` in FILE: input should be 'published' or 'settled'. Received: 'best'."),
        ({"margin": "2.0"}, "c.margin` in FILE: input should be less than 1. Received: 2.0."),
        ({"margin": "0.0"}, "c.margin` in FILE: input should be greater than 0."),
        ({"title": "''"}, "c.title` in FILE: string should have at least 1 character."),
        ({"expect": "''"}, "c.expect` in FILE: string should have at least 1 character."),
        ({"scores": "settled"}, "Unknown key `contrasts.c.scores` in FILE. Did you mean `score`?"),
    ],
)
def test_wrong_fields(tmp_path, fields, message):
    message = message if message.startswith("Unknown") else f"`contrasts.{message}"
    refused = refusal(tmp_path, GRID + f"contrasts: {{c: {contrast(**fields)}}}")
    assert refused.startswith(message.replace("FILE", str(tmp_path / "study.yaml")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"parts": "[a, c]"},
            "c.parts` in FILE must name parts of the study. Received: 'c'. Known: a, b, split, el",
        ),
        ({"parts": "[a, a]"}, "c.parts` in FILE must not repeat a value."),
        ({"parts": "a", "n_shot": 7}, "c.n_shot` in FILE must be in the grid of part a. Received: 7."),
        ({"parts": "[a, split]"}, "c.parts` in FILE must all have one fold, or all have several"),
        ({}, "c.parts` in FILE must all have one fold, or all have several"),
        ({"parts": "split"}, "c.n_shot` in FILE must have at least two runs if there is one fold: nothing else vari"),
        ({"parts": "a", "baseline_parts": "[a, b]"}, "c.baseline_parts` in FILE must have one entry for each of the "),
        ({"baseline_parts": "[b]"}, "c.baseline_parts` in FILE must have one entry for each of the 0 `parts`."),
        (
            {"parts": "a", "baseline_parts": "q"},
            "c.baseline_parts` in FILE must name parts of the study. Received: 'q'",
        ),
        (
            {"parts": "a", "baseline_parts": "split"},
            "c.baseline_parts` in FILE must have the same data set and folds as",
        ),
        (
            {"parts": "a", "baseline_parts": "elsewhere"},
            "c.baseline_parts` in FILE must have the same data set and fold",
        ),
        ({"parts": "a", "baseline": "loglearn", "baseline_parts": "a"}, "c.baseline` in FILE must differ from `compre"),
    ],
)
def test_wrong_parts(tmp_path, fields, message):
    refused = refusal(tmp_path, PARTS + f"contrasts: {{c: {contrast(**fields)}}}")
    assert refused.startswith(f"`contrasts.{message}".replace("FILE", str(tmp_path / "study.yaml")))


def test_single_folds_of_one_data_set_belong_into_one_part(tmp_path):
    """Their runs would be judged as if the folds did not differ."""
    parts = "\nparts: {a: {folds: [3]}, b: {folds: [1]}, elsewhere: {folds: [2], data: {root: others}}}\n"
    text = GRID + parts + "contrasts: {c: %s}"
    refused = refusal(tmp_path, text % contrast(parts="[a, elsewhere, b]"))
    assert refused.startswith("`contrasts.c.parts` in ")
    assert "must have the same fold if each has a single fold of a data set" in refused
    assert refused.endswith("Received: {'a': 3, 'b': 1}. Use `folds: [1, 3]` in each, or in one part in their place.")
    # Both ways are taken; in one of the two parts alone, several folds are refused.
    for folds, names in (("a: {folds: [1, 3]}, b: {folds: [1, 3]}", "[a, b]"), ("a: {folds: [1, 3]}", "[a]")):
        remedied = text.replace("a: {folds: [3]}, b: {folds: [1]}", folds)
        studies(tmp_path, remedied % contrast(parts=names))
    for allowed in ("[a]", "[a, elsewhere]"):
        studies(tmp_path, text % contrast(parts=allowed))
    studies(tmp_path, text.replace("b: {folds: [1]}", "b: {folds: [3]}") % contrast(parts="[a, b]"))


def test_names_are_given_once_and_so_is_what_is_compared(tmp_path):
    assert "key `c` is given twice" in refusal(tmp_path, GRID + f"contrasts: {{c: {contrast()}, c: {contrast()}}}")
    # The same in other words: all n, one by one.
    twice = f"contrasts: {{c: {contrast()}, d: {contrast(title='U', n_shot='[5, 1]', margin=0.01)}}}"
    assert "`contrasts.d` in" in (refused := refusal(tmp_path, GRID + twice)) and "same as `contrasts.c`" in refused
    studies(tmp_path, GRID + f"contrasts: {{c: {contrast()}, d: {contrast(score='published')}}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contrasts: [1]", "`contrasts` in"),
        ("contrasts: {c: 3}", "`contrasts.c` in"),
        ("contrasts: {'../c': {}}", "`contrasts.../c.[key]` in"),
        ("contrasts: {c: {title: T, compression: loglearn}}", "Key `contrasts.c.expect` is missing in"),
    ],
)
def test_what_is_no_contrast(tmp_path, text, message):
    assert refusal(tmp_path, GRID + text).startswith(message)


def test_a_part_has_none_of_its_own(tmp_path):
    text = GRID + f"parts: {{a: {{contrasts: {{c: {contrast()}}}}}}}"
    assert refusal(tmp_path, text).startswith("`parts.a.contrasts` in")


def test_less_of_a_grid_may_be_run_at_a_time(tmp_path):
    text = PARTS + f"contrasts: {{c: {contrast(parts='[a, b]', n_shot=5)}}}"
    assert [one.n_shot for one in studies(tmp_path, text, "n_shot=1", "runs=1", "folds=[2]", "part=a")] == [(1,)]
    # What the command line says of the contrast itself is checked, as is what the file leaves to it.
    assert "must be in the grid" in refusal(tmp_path, text, "contrasts.c.n_shot=[7]")
    open_grid = text.replace("n_shot: [1, 5]\n", "")
    assert "must be in the grid of part a. Received: 5" in refusal(tmp_path, open_grid, "n_shot=[1]")
    assert len(studies(tmp_path, open_grid, "n_shot=[1, 5]", "part=[a, b]")) == 2


def test_the_decisive_experiment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # it is part of the package
    parts = load_studies("decisive")
    contrasts = parts[0].contrasts
    assert {name.partition("_")[0] for name in contrasts} >= {"C1", "C2", "C3", "C5"}
    named = {part for one in contrasts.values() for part in (*one.parts, *(one.baseline_parts or ()))}
    assert named == {settings.part for settings in parts}  # nothing is run for nothing
    assert {settings.data.name for settings in parts} == {"folder", "us8k"}
    gains = {(settings.data.name, settings.features.f_max, settings.features.gain_db) for settings in parts}
    assert gains == {
        (name, f_max, gain)
        for name, f_max in (("folder", None), ("us8k", None), ("us8k", 11025.0))
        for gain in (0.0, -20.0, -40.0)
    }
    settled = [settings for settings in parts if settings.data.validation_fold == "none"]
    assert {settings.n_shot for settings in settled} == {(30,), (40,)}
    with pytest.raises(ConfigError, match="has the parts esc10, us8k_half"):
        load_settings("decisive")
