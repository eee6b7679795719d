"""The command line, `loglearn`: parsing and printing. Slow imports happen inside the command that needs them."""

import argparse
import json
import logging
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loglearn_tf import __version__
from loglearn_tf._util.files import write_text
from loglearn_tf._util.progress import ProgressDisplay
from loglearn_tf._util.registry import import_module
from loglearn_tf._util.streams import OutputError, silent_libraries, standard_streams
from loglearn_tf._util.tensorflow_runtime import available_cores, be_quiet, machine_memory_mib
from loglearn_tf._util.text import align
from loglearn_tf.analysis.results import SCORES
from loglearn_tf.analysis.summary import format_tables
from loglearn_tf.datasets.registry import DATASETS, make_synthetic
from loglearn_tf.errors import ConfigError, LoglearnError
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import read_runs, result_files, write_results
from loglearn_tf.study.settings import FeatureSettings, load_settings, load_studies
from loglearn_tf.study.status import (
    format_failures,
    format_grid,
    format_time_left,
    is_worked_on,
    remembered_settings,
    survey,
)
from loglearn_tf.study.yaml_file import experiment_names, settings_file

if TYPE_CHECKING:
    import keras

    from loglearn_tf.analysis.planned import StudyPart
    from loglearn_tf.analysis.power import Spread
    from loglearn_tf.study.settings import Settings
    from loglearn_tf.study.status import Survey

DONE, SOME_RUNS_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
READER_LEFT = 141  # the exit code a shell reports for a program ended by SIGPIPE
PROBLEMS_FOUND = SOME_RUNS_FAILED


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0 success, 1 failed runs, unreadable files or data problems, 2 invalid input or unwritable output,
        130 interrupted, 141 the reader of the output has left.
    """
    try:
        with standard_streams():
            return _main(arguments)
    except OutputError as error:
        if error.reader_has_left:  # for example `loglearn results ... | head`
            return READER_LEFT
        print(f"loglearn: {error}", file=sys.stderr)
        return WRONG_INPUT


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0")  # workers are quiet by default
    else:
        be_quiet()
    # User code such as `my_lab.nets:build` is found in the current folder; files there hide no installed package.
    if "" not in sys.path:
        sys.path.append("")
    decodes_here = options.command in (_predict, _check_data)
    try:
        with silent_libraries() if decodes_here and not options.verbose else nullcontext(), _messages_on_stderr():
            code: int = options.command(options)
        return code
    except LoglearnError as error:
        print(f"loglearn: {error}{_hint_about_names(str(error))}", file=sys.stderr)
        return WRONG_INPUT
    except OSError as error:
        if error.filename is not None or "temporary directory" not in str(error):
            raise
        # Raised by TensorFlow or matplotlib on import.
        print(f"loglearn: {error.strerror or error}. Set TMPDIR to a writable folder.", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        goes_on = options.command in (_run, _features, _explain, _get)
        kept = " Finished work is kept; rerun the command to resume." if goes_on else ""
        print(f"\nStopped.{kept}", file=sys.stderr)
        return INTERRUPTED


def _hint_about_names(message: str) -> str:
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8" or (message.isascii() and "\\udc" not in message):
        return ""
    return f" File names are read as {encoding} here; if they are UTF-8, set PYTHONUTF8=1."


class _Stderr(logging.Handler):
    """Prints what the library logs to the current stderr: a live progress line may have replaced it."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = "Warning: " if record.levelno >= logging.WARNING else ""
        print(warning + record.getMessage(), file=sys.stderr)


@contextmanager
def _messages_on_stderr() -> Iterator[None]:
    logger, handler = logging.getLogger("loglearn_tf"), _Stderr()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _plan(options: argparse.Namespace) -> int:
    studies = load_studies(options.settings, options.overrides)
    states = []
    for at, settings in enumerate(studies):
        if (corpus := DATASETS.own(settings.data.name)) is not None:
            corpus.check_root(Path(settings.data.root))
        state = survey(settings, settings.study_dir, workers=settings.workers or available_cores())
        states.append((settings, state))
        part = f", part {settings.part}" if settings.part else ""
        gap = "\n" if at else ""
        print(f"{gap}{settings.name}{part}: {len(state.results):,} runs in {settings.study_dir}\n")
        print(format_grid(state, with_time_left=False))
        if (frames := settings.features.patch_frames) != FeatureSettings().patch_frames:
            seconds = (frames - 1) * settings.features.hop_length / settings.features.sample_rate
            print(f"Patches have {frames:,} frames: each spans {seconds:.3g} s from first to last.")
    if studies[0].contrasts:
        n_planned = len(studies[0].contrasts)
        print(
            f"\n{n_planned} contrast{' is' if n_planned == 1 else 's are'} planned: `loglearn contrasts` shows what "
            "was found, `loglearn power` how precise the answers will be."
        )
    sys.stdout.flush()  # the estimate takes a while
    _print_estimates(states, measure=not options.no_measure)
    return DONE


def _print_estimates(states: "list[tuple[Settings, Survey]]", *, measure: bool) -> None:
    from loglearn_tf.experiment.estimate import estimate_study
    from loglearn_tf.study.cost import Estimate
    from loglearn_tf.study.cost_text import format_estimate, format_whole

    with ProgressDisplay() as show:
        found = estimate_study(states, measure=measure, on_progress=show)
    for (settings, state), one in zip(states, found, strict=True):
        part = f"Part {settings.part}: " if settings.part else ""
        if not state.to_do:
            print(f"\n{part}Nothing left to do.")
        elif isinstance(one, str):
            print(f"\n{part}{one}")
        else:
            print(f"\n{part}{format_estimate(one, machine_mib=machine_memory_mib())}")
    known = [one for one in found if isinstance(one, Estimate) and one.core_s]
    if len(known) > 1:
        print(f"\n{format_whole(known)}")


def _study_dirs(study: Path) -> list[Path]:
    """The study's folder, or those of its parts."""
    return sorted(path.parent for path in study.glob("*/study.yaml")) or [study]


def _status(options: argparse.Namespace) -> int:
    for study_dir in _study_dirs(options.study):
        _print_status(study_dir)
    return DONE


def _print_status(study_dir: Path) -> None:
    settings = remembered_settings(study_dir)
    state = survey(settings, study_dir, workers=settings.workers or available_cores())
    n_done, n_failed = state.count("done"), state.count("failed")
    print(
        f"{study_dir}: {n_done:,} of {len(state.results):,} runs done, {n_failed:,} failed, "
        f"{state.count('to do'):,} to do; {'a job is' if is_worked_on(study_dir) else 'no job is'} running."
    )
    if state.n_outside:
        print(f"{state.n_outside:,} more runs are outside the grid of the last `loglearn run`.")
    print(format_time_left(state))
    if n_failed:
        print(format_failures(state))


def _features(options: argparse.Namespace) -> int:
    from loglearn_tf.experiment.study import load_data, prepare_store

    for settings in load_studies(options.settings, options.overrides):
        with ProgressDisplay() as show:
            store = prepare_store(settings, load_data(settings), on_progress=show)
        print(f"{len(store):,} clips in {store.folder}")
    return DONE


def _explain(options: argparse.Namespace) -> int:
    from loglearn_tf.experiment.study import load_data, mel_power_of, prepare_store
    from loglearn_tf.features import histogram as mel_power

    settings = load_settings(options.settings, options.overrides)
    dataset = load_data(settings)
    alpha = mel_power.START_ALPHA if options.alpha is None else options.alpha
    beta = mel_power.START_BETA if options.beta is None else options.beta
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value < float("inf"):
            raise ConfigError(f"`--{name}` must be greater than 0. Received: {value}.")
    with ProgressDisplay() as show:
        store = prepare_store(settings, dataset, on_progress=show)
    power = mel_power_of(settings, dataset, store)
    if power is None:
        raise ConfigError(
            "`loglearn explain` needs a mel-power store. Received: "
            f"features.compression={settings.features.compression}. Omit this setting."
        )
    if dataset.synthetic:
        print("SYNTHETIC DATA")
    print("\n".join(textwrap.wrap(" ".join(mel_power.explain(power, alpha=alpha, beta=beta)), 100)))
    knee = beta / alpha
    print("\n" + align([mel_power.PER_CLASS_HEAD, *mel_power.per_class(power, knee=knee)]))
    some_run = any(result_files(settings.study_dir))
    moved = mel_power.knees_moved(read_runs(settings.study_dir)) if some_run else []
    if moved:
        print("\n" + align([mel_power.KNEES_HEAD, *moved]))
    return DONE


def _run(options: argparse.Namespace) -> int:
    from loglearn_tf.experiment.study import run_parts

    code = DONE
    studies = load_studies(options.settings, options.overrides)
    with ProgressDisplay() as show:
        for result in run_parts(studies, on_progress=show):
            print(result)
            print(f"One row per run: {result.study_dir / 'results.csv'}")
            print(f"Report: {result.report}")
            if result.failed:
                code = SOME_RUNS_FAILED
                print(
                    f"{len(result.failed):,} of {len(plan_runs(result.settings)):,} runs failed: "
                    f"{result.folder(result.failed[0]) / 'result.json'} gives the reason. Rerun to retry them.",
                    file=sys.stderr,
                )
    if studies[0].part:
        _write_report(studies[0].study_dir.parent, what="The whole study")
    return code


def _results(options: argparse.Namespace) -> int:
    for study_dir in _study_dirs(options.study):
        print(format_tables(write_results(study_dir), score=options.score))
        print(f"One row per run: {study_dir / 'results.csv'}")
    return DONE


def _report(options: argparse.Namespace) -> int:
    if options.fill is None:
        if options.output is not None:
            raise ConfigError(f"`--output` requires `--fill`. Received: --output {options.output}. Omit it.")
        from loglearn_tf.analysis.report.tables import TABLES

        parts = _study_dirs(options.study)
        whole = [] if parts == [options.study] else [options.study]
        chosen = {"margin": options.margin / 100, "tables": [*TABLES, *options.table], "score": options.score}
        for study_dir in parts:
            _write_report(study_dir, **chosen)
        for study_dir in whole:
            _write_report(study_dir, what="The whole study", **chosen)
        return DONE
    from loglearn_tf.analysis.report import fill

    if options.margin != 2.0:
        raise ConfigError(f"`--margin` cannot be used with `--fill`. Received: --margin {options.margin:g}. Omit it.")
    if options.score is not None:
        raise ConfigError(f"`--score` cannot be used with `--fill`. Received: --score {options.score}. Omit it.")
    path = options.output or options.study / "FINDINGS.md"
    write_text(path, fill(options.fill, options.study))
    print(f"Findings: {path}")
    return DONE


def _write_report(study_dir: Path, *, what: str = "Report", **more: Any) -> None:
    from loglearn_tf.analysis.report import write_report

    print(f"{what}: {write_report(study_dir, **more)}")


def _parts(options: argparse.Namespace) -> "list[StudyPart]":
    from loglearn_tf.analysis.planned import find_parts

    return find_parts(options.study, options.overrides)


def _spread(options: argparse.Namespace) -> "Spread":
    from loglearn_tf.analysis.planning import FOLD_STD, RUN_STD
    from loglearn_tf.analysis.power import Spread

    given = {"--run-std": options.run_std, "--fold-std": options.fold_std}
    for name, value in given.items():
        if value is not None and not 0 <= value <= 100:
            raise ConfigError(f"`{name}` must be between 0 and 100 points. Received: {value:g}.")
    run_std, fold_std = (None if value is None else value / 100 for value in given.values())
    return Spread(RUN_STD if run_std is None else run_std, FOLD_STD if fold_std is None else fold_std)


def _contrasts(options: argparse.Namespace) -> int:
    from loglearn_tf.analysis.planned import evaluate
    from loglearn_tf.analysis.report.contrasts import text

    parts = _parts(options)
    outcomes = evaluate(parts)
    if not outcomes:
        raise ConfigError(
            f"{options.study} has no contrasts. Add them under `contrasts` in its YAML file; "
            f"{settings_file('decisive')} has examples."
        )
    if any(row["synthetic"] for part in parts for row in part.rows):
        print("SYNTHETIC DATA")
    print(text(parts, outcomes, _spread(options)))
    return DONE


def _power(options: argparse.Namespace) -> int:
    from loglearn_tf.analysis import planning

    if not 0 < options.margin < 100:
        raise ConfigError(f"`--margin` must be greater than 0 and less than 100 points. Received: {options.margin:g}.")
    parts, spread, margin = _parts(options), _spread(options), options.margin / 100
    is_stated = options.run_std is not None or options.fold_std is not None
    for part in parts:
        plans = [] if is_stated else planning.estimated(part, score=options.score, margin=margin)
        for plan in plans or [planning.stated(part.settings, spread, margin=margin)]:
            print(planning.format_plan(plan, part.settings) + "\n")
    written_down, one_run = planning.of_contrasts(parts, spread), planning.of_one_run(parts)
    if written_down or one_run:
        print(planning.format_contrasts(written_down, spread, one_run) + "\n")
    print("\n".join(textwrap.wrap(planning.how_to_read(margin), 100)))
    return DONE


def _archive(options: argparse.Namespace) -> int:
    from loglearn_tf.study.archive import archive

    for path in archive(options.study, options.folder, decimals=options.decimals):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return DONE


def _restore(options: argparse.Namespace) -> int:
    from loglearn_tf.study.archive import restore

    n_added = restore(options.archive, options.study)
    print(f"{n_added:,} finished runs added to {options.study}")
    return DONE


def _recommend(options: argparse.Namespace) -> int:
    from loglearn_tf.analysis.recommend import recommend

    if not 0 < options.margin < 100:
        raise ConfigError(f"`--margin` must be greater than 0 and less than 100 points. Received: {options.margin:g}.")
    found = recommend(options.study, options.overrides, score=options.score, margin=options.margin / 100)
    print(json.dumps(found.to_json(), indent=1, ensure_ascii=False) if options.json else found)
    return DONE


def _predict(options: argparse.Namespace) -> int:
    from loglearn_tf.deploy import predict, saved_models

    if options.top < 1:
        raise ConfigError(f"`--top` must be at least 1. Received: {options.top}.")
    model = _load_model(options)
    names = saved_models.head_of(model, options.model).class_names
    sounds = predict.find_sounds(options.sounds)
    write = predict.writer(
        options.format,
        names,
        top=options.top,
        out=sys.stdout,
        spreadsheet_safe=options.spreadsheet_safe,
        parts=options.every is not None,
    )
    n_unreadable = 0
    # On a terminal the table is the progress.
    silent = sys.stdout.isatty() or len(sounds) == 1
    with nullcontext() if silent else ProgressDisplay() as show:
        for prediction in predict.predict(
            model, sounds, workers=available_cores(), where=options.model, every=options.every, on_progress=show
        ):
            if prediction.probabilities is None:
                n_unreadable += 1
                print(f"loglearn: {prediction.error}", file=sys.stderr)
            else:
                write(prediction)
    if n_unreadable:
        print(f"loglearn: {n_unreadable:,} of {len(sounds):,} files could not be read.", file=sys.stderr)
    return SOME_RUNS_FAILED if n_unreadable else DONE


def _export(options: argparse.Namespace) -> int:
    from loglearn_tf.deploy.export import EXPORT_FORMATS, export_model

    EXPORT_FORMATS.check(options.to, setting="--to")
    model = _load_model(options)
    beside = options.model if options.model.is_dir() else options.model.parent
    output = options.output or beside / EXPORT_FORMATS[options.to].default_output
    print(export_model(model, output, to=options.to))
    return DONE


def _show(options: argparse.Namespace) -> int:
    from loglearn_tf.deploy import saved_models

    print(saved_models.describe(_load_model(options)))
    return DONE


def _load_model(options: argparse.Namespace) -> "keras.Model":
    from loglearn_tf.deploy import saved_models

    for module in options.modules:
        import_module(module, what="`--import`")
    return saved_models.load_model(options.model, trust=options.trust)


def _synthetic(options: argparse.Namespace) -> int:
    make_synthetic(options.name, options.root, clips_per_class=options.clips_per_class, seed=options.seed)
    print(f"SYNTHETIC data set in the layout of {options.name}: {options.root}")
    return DONE


def _get(options: argparse.Namespace) -> int:
    from loglearn_tf.datasets.download import official as download

    # Where the experiments look by default.
    root = options.root or Path(DATASETS[options.name].download_root)
    with ProgressDisplay() as show:
        dataset = download.get(
            options.name,
            root,
            from_dir=options.from_dir,
            keep_archives=options.keep_archives,
            server=options.server or download.SERVER,
            on_progress=show,
        )
    print(f"{len(dataset.clips):,} clips in {dataset.root}")
    return DONE


def _check_data(options: argparse.Namespace) -> int:
    from loglearn_tf.datasets import check as data_check

    with ProgressDisplay() as show:
        report = data_check.check_data(options.root, name=options.data, workers=available_cores(), on_progress=show)
    print(data_check.summary(report))
    if rows := data_check.formats(report):
        print("\n" + align([data_check.FORMATS_HEAD, *rows]))
    if options.csv is not None:
        data_check.write_csv(report, options.csv, spreadsheet_safe=options.spreadsheet_safe)
        print(f"\nOne row per clip: {options.csv}")
    return PROBLEMS_FOUND if report.n_errors or (options.strict and report.n_warnings) else DONE


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--verbose", action="store_true", help="show messages from TensorFlow and audio decoders")
    with_settings = argparse.ArgumentParser(add_help=False, parents=[common])
    with_settings.add_argument("settings", help="YAML file or built-in experiment: " + ", ".join(experiment_names()))
    with_settings.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to override, e.g. n_shot=[1,10] data.root=/path"
    )

    parser = argparse.ArgumentParser(
        prog="loglearn",
        description="Learning the logarithmic compression of mel spectrograms: the experiment and its analysis.",
        epilog="Exit codes: 0 success, 1 failed runs, unreadable files or data problems, 2 invalid input or unwritable "
        "output, 130 interrupted, 141 output pipe closed by its reader. Output to files and pipes is UTF-8; characters "
        "that a terminal cannot show are escaped with a backslash.",
    )
    parser.add_argument("--version", action="version", version=f"loglearn_tf {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Any, parents: list[argparse.ArgumentParser], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=parents, help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    def add_spreadsheet_safe(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--spreadsheet-safe",
            action="store_true",
            help="in CSV, prefix text that a spreadsheet would run as a formula with an apostrophe",
        )

    def add_score(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--score",
            choices=tuple(SCORES),
            default="published",
            help="settled: free of the initial values of batch normalisation's moving averages (default: published)",
        )

    planned_first = add(
        "plan",
        _plan,
        [with_settings],
        "count finished and remaining runs and estimate time, memory and disk; runs and writes nothing",
    )
    planned_first.add_argument(
        "--no-measure",
        action="store_true",
        help="skip timing steps of the networks (up to 20 s); estimate from stored timings of another machine",
    )
    add("features", _features, [with_settings], "compute the mel store of a data set")
    explained = add("explain", _explain, [with_settings], "show how much of a data set's mel power a knee flattens")
    explained.add_argument("--alpha", type=float, help="default: 1096.633, the initial value of loglearn")
    explained.add_argument("--beta", type=float, help="default: 1.31326")
    add("run", _run, [with_settings], "run what is left of a study, then print the tables")
    status = add("status", _status, [common], "show progress, failures and their reasons; runs nothing")
    status.add_argument("study", type=Path, help="study folder, e.g. runs/us8k")
    results = add("results", _results, [common], "rebuild results.csv from the run folders and print the tables")
    results.add_argument("study", type=Path, help="study folder, e.g. runs/us8k")
    add_score(results)
    report = add("report", _report, [common], "write report.html, report.md, tables and figures")
    report.add_argument("study", type=Path, help="study folder, e.g. runs/us8k")
    report.add_argument(
        "--margin", type=float, default=2.0, metavar="POINTS", help="smaller differences are negligible (default: 2)"
    )
    report.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="PLACE",
        help="additional table of your own, as module:attribute; repeatable",
    )
    report.add_argument(
        "--fill", type=Path, metavar="TEXT", help="fill the study's numbers into this text instead of writing a report"
    )
    report.add_argument("--output", type=Path, help="output file for --fill (default: FINDINGS.md in the study folder)")
    report.add_argument(
        "--score",
        choices=tuple(SCORES),
        help="settled: free of the initial values of batch normalisation's moving averages (default: published; "
        "for your own data, settled if all runs have it)",
    )
    of_study = argparse.ArgumentParser(add_help=False, parents=[common])
    of_study.add_argument("study", help="study folder, e.g. runs/us8k, YAML file or built-in experiment")
    of_study.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to override, with a YAML file or experiment"
    )
    recommended = add(
        "recommend",
        _recommend,
        [of_study],
        "show which compression the finished runs recommend, how certain that is, and what learning adds",
    )
    recommended.add_argument(
        "--margin", type=float, default=2.0, metavar="POINTS", help="smaller differences are negligible (default: 2)"
    )
    recommended.add_argument(
        "--score", choices=tuple(SCORES), help="which accuracy to use (default: settled, if the runs have it)"
    )
    recommended.add_argument("--json", action="store_true", help="print all numbers and sentences as JSON")
    planned = argparse.ArgumentParser(add_help=False, parents=[of_study])
    for option, of, default in (("--run-std", "the runs of a fold", 5.5), ("--fold-std", "fold means", 2)):
        planned.add_argument(
            option,
            type=float,
            metavar="POINTS",
            help=f"standard deviation of paired differences between {of}, before any run (default: {default:g})",
        )
    add(
        "contrasts",
        _contrasts,
        [planned],
        "show the planned contrasts of a study and their results; runs nothing",
    )
    powered = add(
        "power",
        _power,
        [planned],
        "show what a study can decide, from how much its runs vary or, before any run, from assumed values",
    )
    powered.add_argument(
        "--margin", type=float, default=2.0, metavar="POINTS", help="smaller differences are negligible (default: 2)"
    )
    add_score(powered)
    archived = add(
        "archive",
        _archive,
        [common],
        "store the finished runs of a study in one small file, without models and event files",
    )
    archived.add_argument("study", type=Path, help="study folder, e.g. runs/us8k")
    archived.add_argument("folder", type=Path, help="archive folder")
    archived.add_argument(
        "--decimals", type=int, default=4, metavar="N", help="of predicted probabilities, 1 to 7 (default: 4)"
    )
    restored = add(
        "restore",
        _restore,
        [common],
        "restore run folders from an archive, to make reports or to continue with `loglearn run`",
    )
    restored.add_argument("archive", type=Path, help="archive folder, e.g. experiments/results/decisive")
    restored.add_argument("study", type=Path, help="study folder, e.g. runs/decisive; finished runs in it are kept")
    predicted = add("predict", _predict, [common], "classify sound files with a saved model")
    predicted.add_argument("model", type=Path, help="run folder, its model.keras, or any clip classifier")
    predicted.add_argument("sounds", type=Path, nargs="+", help="sound files, or folders to search")
    predicted.add_argument("--top", type=int, default=3, metavar="K", help="number of classes to show (default: 3)")
    predicted.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="classify consecutive parts of this length, with start and end in seconds; the last part may be shorter",
    )
    predicted.add_argument("--format", choices=("table", "csv", "jsonl"), default="table")
    add_spreadsheet_safe(predicted)
    exported = add("export", _export, [common], "export a saved model to another format, such as SavedModel or TFLite")
    exported.add_argument("model", type=Path, help="run folder with model.keras, or a .keras file")
    exported.add_argument(
        "--to", metavar="FORMAT", required=True, help="savedmodel, tflite, or your own as module:attribute"
    )
    exported.add_argument("--output", type=Path, help="default: next to the model")
    shown = add("show", _show, [common], "describe a saved model: front end, classes, alpha, beta, knee and curve")
    shown.add_argument("model", type=Path, help="run folder with model.keras, or a .keras file")
    for reader in (predicted, exported, shown):
        reader.add_argument(
            "--trust",
            action="store_true",
            help="trust the source of the model; required if the installed Keras has known ways around its safe mode",
        )
        reader.add_argument(
            "--import",
            dest="modules",
            action="append",
            default=[],
            metavar="MODULE",
            help="a module of yours that registers layers of the model, such as my_lab.layers; may be repeated",
        )
    data = commands.add_parser("data", help="download, check or generate data sets")
    corpora = [DATASETS[name] for name in DATASETS if DATASETS.own(name)]
    data_commands = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    made = data_commands.add_parser(
        "synthetic", parents=[common], help="generate a small data set of computed sounds in an official layout"
    )
    made.set_defaults(command=_synthetic)
    made.add_argument("name", choices=[corpus.name for corpus in corpora if corpus.synthetic])
    made.add_argument("root", type=Path, help="folder to create it in")
    made.add_argument(
        "--clips-per-class",
        type=int,
        nargs="+",
        default=[10],
        metavar="N",
        help="us8k: per class and fold; tut: per class, development and evaluation (default: 10)",
    )
    made.add_argument("--seed", type=int, default=0)

    got = data_commands.add_parser(
        "get",
        parents=[common],
        help="download, verify and unpack an official data set; rerun the command to resume",
    )
    got.set_defaults(command=_get)
    official = [corpus for corpus in corpora if corpus.download]
    got.add_argument("name", choices=[corpus.name for corpus in official])
    defaults = ", ".join(f"{corpus.download_root} for {corpus.name}" for corpus in official)
    got.add_argument("root", type=Path, nargs="?", help=f"target folder (default: {defaults})")
    got.add_argument("--from-dir", type=Path, metavar="FOLDER", help="use archives in this folder, download nothing")
    got.add_argument("--keep-archives", action="store_true", help="keep the downloaded archives in ROOT/.archives")
    # For mirrors and tests.
    got.add_argument("--server", metavar="URL", help=argparse.SUPPRESS)

    checked = data_commands.add_parser(
        "check",
        parents=[common],
        help="check a data set for missing, unreadable, silent, clipped and duplicate clips",
        description="Check a whole data set and list its problems; changes nothing.",
        epilog="Exit codes: 0 no problems, 1 errors (with --strict also warnings), 2 invalid input, 130 interrupted.",
    )
    checked.set_defaults(command=_check_data)
    checked.add_argument("root", type=Path, help="data set folder, or CSV file of your own recordings")
    checked.add_argument(
        "--data", metavar="NAME", help=f"{', '.join(DATASETS)}, or module:attribute (default: detected from the layout)"
    )
    checked.add_argument("--csv", type=Path, metavar="FILE", help="write one row per clip to this file")
    add_spreadsheet_safe(checked)
    checked.add_argument("--strict", action="store_true", help="warnings count as errors")

    return parser


if __name__ == "__main__":
    sys.exit(main())
