"""Fills the numbers of a study into a text: people write the prose, the program inserts the numbers."""

import re
import shlex
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from loglearn_tf._util.progress import format_seconds
from loglearn_tf.analysis.names import model_name
from loglearn_tf.analysis.planned import Outcome, StudyPart, evaluate, read_parts
from loglearn_tf.analysis.report.run_files import Unreadable, read_traces
from loglearn_tf.analysis.report.table import (
    MARKS,
    StudyResults,
    p_text,
    points,
    points_interval,
    to_markdown,
    verdict_interval,
)
from loglearn_tf.analysis.report.tables import REGRET
from loglearn_tf.analysis.results import with_score
from loglearn_tf.analysis.statistics import Accuracy, Comparison, accuracies, compare, compare_all
from loglearn_tf.datasets.n_shot import n_shot_of
from loglearn_tf.errors import ConfigError
from loglearn_tf.features.histogram import START_ALPHA, START_BETA, MelHistogram, read_mel_histogram
from loglearn_tf.study.run_folder import Row, key_of, read_runs
from loglearn_tf.study.status import remembered_settings, survey

_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def fill(template: Path, study_dir: Path) -> str:
    """Puts a study's numbers into a text.

    The text is Markdown with placeholders such as `{{difference part=main_full model=timbre n=10
    compression=loglearn}}`:

    - `accuracy`: mean accuracy in percent with its interval. Here and below, `score=settled` asks for the settled
      score instead of the published one.
    - `difference`: minus log-EPS, or `baseline=...`, in points, with the interval behind its verdict: the 90 %
      interval, marked as such, for "equivalent", otherwise the 95 % interval.
    - `verdict`: its verdict, Holm-corrected over all compressions of the part; `p`: its Holm-corrected p. With
      `baseline=...` other than log-EPS, corrected over the cells of the two compressions only.
    - `within`: the interval of `difference` within these folds, which more runs would narrow.
    - `half_width`: half-width of the interval, in points; with `over=runs`, that of `within`.
    - `table` (part, model, n): for every compression, accuracy, minus log-EPS, `within`, p, verdict.
    - `below` (part, `knee=...`): share of all mel bins below a knee, in percent; `knee=start` is loglearn's.
    - `moved` (part, compression, model): final knee divided by initial knee: minimum, median and maximum over runs.
    - `values` (part, compression, `name=alpha`): minimum and maximum of the final value.
    - `best` (part, model, n, `among=a,b,c`): the compression among these with the largest difference, and the
      difference.
    - `contrast` (`name=...`): one of the study's contrasts, in points, with the interval behind its verdict, and the
      verdict; `contrasts`: a table of all contrasts, including those that have not run yet.
    - `regret` (`score=settled`, `among=a,b,c`): a table of the worst-case regret of each compression over the parts;
      without `among`, of the compressions that were run in more than half of the cells.
    - `n_runs`, `clips` (part), `time`, `commit`, `machine`: for the whole study or a part.

    Args:
        template: The text.
        study_dir: The study's folder; `part` names a folder in it.

    Raises:
        ConfigError: If the text cannot be read, a placeholder asks for something unknown or not run, or a part that it
            needs is not finished: numbers of some runs must not appear in a text about all of them.
    """
    try:
        text = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {template}: {error}. Name a Markdown file.") from error
    places = _Places(study_dir)
    known = [name for name in vars(_Places) if not name.startswith("_")]

    def put(place: re.Match[str]) -> str:
        where = f"{template}, line {text.count(chr(10), 0, place.start()) + 1}: {place[0]}"
        try:
            what, *rest = shlex.split(place[1])
            asked = dict(word.split("=", 1) for word in rest)
        except ValueError as error:
            raise ConfigError(f"{where} must consist of a word and key=value pairs ({error}).") from error
        if what not in known:
            raise ConfigError(f"{where} asks for {what!r}. Known: {', '.join(known)}.")
        try:
            return str(getattr(places, what)(**asked))
        except (TypeError, LookupError, ValueError) as error:
            raise ConfigError(f"{where} cannot be filled in: {error}.") from error

    return _PLACE.sub(put, text)


@dataclass
class _Part:
    """The runs of one part, and results computed from them once."""

    folder: Path
    score: str = "published"

    @cached_property
    def settings(self) -> Any:
        return remembered_settings(self.folder)

    @cached_property
    def done(self) -> list[Row]:
        """All runs of the part's grid. Other runs in its folder, from an earlier and larger grid, are ignored.

        Raises:
            LookupError: If some are not done.
        """
        state = survey(self.settings, self.folder, workers=1)
        n_done = state.count("done")
        if n_done < len(state.results):
            raise LookupError(f"only {n_done:,} of {len(state.results):,} runs of {self.folder} are done")
        planned = {spec.key for spec in state.results}
        return with_score([row for row in read_runs(self.folder) if key_of(row) in planned], self.score)

    @property
    def remark(self) -> str:
        return " (SYNTHETIC DATA)" if any(row["synthetic"] for row in self.done) else ""

    @cached_property
    def accuracies(self) -> list[Accuracy]:
        return accuracies(self.done)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        return compare_all(self.done)


class _Places:
    """What a placeholder can ask for: the public methods, with their arguments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, str], _Part] = {}

    def accuracy(self, *, part: str, model: str, n: str, compression: str, score: str = "published") -> str:
        one = self._accuracy(part, model, n, compression, score)
        interval = "" if one.low is None or one.high is None else f" ({100 * one.low:.1f} to {100 * one.high:.1f})"
        return f"{100 * one.mean:.1f} %{interval}{self._part(part).remark}"

    def difference(self, *, part: str, **cell: str) -> str:
        return _with_interval(self._comparison(part, **cell)) + self._part(part).remark

    def within(self, **cell: str) -> str:
        one = self._comparison(**cell)
        return points_interval(one.low_within, one.high_within) or "none"

    def verdict(self, **cell: str) -> str:
        return self._comparison(**cell).verdict

    def p(self, **cell: str) -> str:
        return p_text(self._comparison(**cell).p_holm) or "none"

    def half_width(self, *, over: str = "folds", **cell: str) -> str:
        if over not in ("folds", "runs"):
            raise LookupError(f"intervals are over folds or runs, not over {over}")
        one = self._comparison(**cell)
        low, high = (one.low, one.high) if over == "folds" else (one.low_within, one.high_within)
        return "none" if low is None or high is None else f"{50 * (high - low):.1f}"

    def table(self, *, part: str, model: str, n: str, score: str = "published") -> str:
        of_part = self._part(part, score)
        names = {one.compression for one in of_part.accuracies if (one.model, one.n_shot) == (model, n_shot_of(n))}
        if not names:
            raise LookupError(f"{part} has no finished run of {model} at n = {n}")
        order = of_part.settings.compressions
        head = ("Compression", "Accuracy", "Minus log-EPS, points", "On these folds", "p (Holm)", "Verdict")
        lines = [f"| {' | '.join(head)} |", "|---|--:|--:|--:|--:|---|"]
        for name in sorted(names, key=lambda name: (name != "logeps", order.index(name))):
            shown = [f"`{name}`", self.accuracy(part=part, model=model, n=n, compression=name, score=score)]
            if name == "logeps":
                shown += ["", "", "", "baseline"]
            else:
                one = self._comparison(part, model, n, name, score=score)
                within = points_interval(one.low_within, one.high_within)
                shown += [_with_interval(one), within, p_text(one.p_holm), f"{MARKS[one.verdict]} {one.verdict}"]
            lines.append(f"| {' | '.join(shown)} |")
        return "\n".join(lines)

    def below(self, *, part: str, knee: str) -> str:
        return (
            f"{100 * self._power(part).share_below(START_BETA / START_ALPHA if knee == 'start' else float(knee)):.0f} %"
        )

    def moved(self, *, part: str, compression: str, model: str) -> str:
        of_part = self._part(part)
        rows = [row for row in of_part.done if (row["compression"], row["model"]) == (compression, model)]
        unreadable = Unreadable()
        traces = [trace for runs in read_traces(of_part.folder, rows, unreadable).values() for trace in runs]
        lacking = [*unreadable.missing, *(path for path, _ in unreadable.broken)]
        if lacking:
            raise LookupError(f"{lacking[0]} cannot be read")
        knees = [trace.values["knee"] for trace in traces if "knee" in trace.values]
        if not knees:
            raise LookupError(f"{part} has no history of {model} with {compression}")
        ratios = [float(knee[-1] / knee[0]) for knee in knees]
        return f"{min(ratios):.3g} to {max(ratios):.3g}, median {median(ratios):.3g}"

    def values(self, *, part: str, compression: str, name: str, model: str = "") -> str:
        if name not in ("alpha", "beta", "knee"):
            raise LookupError(f"there is no value {name}; known are alpha, beta and knee")
        rows = [row for row in self._part(part).done if row["compression"] == compression]
        found = [row[name] for row in rows if model in ("", row["model"]) and row[name] is not None]
        if not found:
            raise LookupError(f"{part} has no run of {compression} with a {name}")
        return f"{min(found):.4g} to {max(found):.4g}"

    def best(self, *, part: str, model: str, n: str, among: str) -> str:
        found = [self._comparison(part, model, n, name) for name in among.split(",")]
        best = max(found, key=lambda one: one.mean)
        return (
            f"{best.compression}, {model_name(model)} at n = {n}: {_with_interval(best)} points, "
            f"p (Holm) {p_text(best.p_holm)}, {best.verdict}; "
            f"on these folds {points_interval(best.low_within, best.high_within) or 'no interval'}"
        )

    def contrast(self, *, name: str) -> str:
        if name not in self._contrasts:
            raise LookupError(f"there is no contrast {name}; there are {', '.join(self._contrasts) or 'none'}")
        one = self._contrasts[name]
        if one.waiting:
            raise LookupError(f"contrast {name} is {one.waiting}")
        return f"{_with_interval(one)}, {one.verdict}"

    def contrasts(self) -> str:
        head = ("Contrast", "What", "Points", "By recordings, 95 %", "Pairs", "p (Holm)", "Verdict")
        lines = [f"| {' | '.join(head)} |", "|---|---|--:|--:|--:|--:|---|"]
        for name, one in self._contrasts.items():
            shown = [name, one.contrast.title, "", "", "", "", one.waiting]
            if not one.waiting:
                by_recordings = points_interval(one.low_recordings, one.high_recordings) or "none"
                shown[2:] = [_with_interval(one), by_recordings, f"{one.n_pairs:,}", p_text(one.p_holm) or "none"]
                shown.append(f"{MARKS[one.verdict]} {one.verdict}")
            lines.append(f"| {' | '.join(shown)} |")
        return "\n".join(lines)

    def regret(self, *, score: str = "settled", among: str = "") -> str:
        parts = [replace(part, rows=with_score(part.rows, score)) for part in self._parts]
        results = StudyResults(parts, score=score, compressions=among.split(",") if among else None)
        if not REGRET.applies(results):
            raise LookupError("regret needs two parts or more that share compressions")
        return to_markdown(REGRET.of_study(results)).rstrip()

    @cached_property
    def _parts(self) -> list[StudyPart]:
        return read_parts(self._folder)

    @cached_property
    def _contrasts(self) -> dict[str, Outcome]:
        return {one.name: one for one in evaluate(self._parts)}

    def n_runs(self, *, part: str | None = None) -> str:
        return f"{len(self._done(part)):,}"

    def clips(self, *, part: str) -> str:
        folds = sorted({row["fold"] for row in self._done(part)})
        classes = self._power(part).classes
        return f"{len(folds)} test folds ({', '.join(map(str, folds))}), {len(classes)} classes"

    def time(self, *, part: str | None = None) -> str:
        return format_seconds(sum(row["train_seconds"] + row["eval_seconds"] for row in self._done(part)))

    def commit(self, *, part: str | None = None) -> str:
        return self._version(part, "git_commit")

    def machine(self, *, part: str | None = None) -> str:
        return ", ".join(f"{name} {self._version(part, name)}" for name in ("python", "tensorflow", "keras", "numpy"))

    def _part(self, name: str, score: str = "published") -> _Part:
        if not (self._folder / name).is_dir():
            raise LookupError(f"{self._folder} has no part {name}")
        return self._known.setdefault((name, score), _Part(self._folder / name, score))

    def _done(self, part: str | None) -> list[Row]:
        """Runs of one part, or of all parts."""
        names = [path.parent.name for path in sorted(self._folder.glob("*/study.yaml"))] if part is None else [part]
        if not names:
            raise LookupError(f"{self._folder} has no parts")
        return [row for name in names for row in self._part(name).done]

    def _accuracy(self, part: str, model: str, n: str, compression: str, score: str) -> Accuracy:
        for one in self._part(part, score).accuracies:
            if (one.model, one.n_shot, one.compression) == (model, n_shot_of(n), compression):
                return one
        raise LookupError(f"{part} has no finished run of {model} {compression} at n = {n}")

    def _comparison(
        self,
        part: str,
        model: str,
        n: str,
        compression: str,
        baseline: str = "logeps",
        score: str = "published",
    ) -> Comparison:
        of_part = self._part(part, score)
        found = of_part.comparisons
        if baseline != "logeps":
            found = compare(of_part.done, compression=compression, baseline=baseline)
        for one in found:
            if (one.model, one.n_shot, one.compression) == (model, n_shot_of(n), compression):
                return one
        raise LookupError(f"{part} has no pair of {model} {compression} and {baseline} at n = {n}")

    def _power(self, part: str) -> MelHistogram:
        of_part = self._part(part)
        power = read_mel_histogram(of_part.folder, of_part.done[0]["dataset"])
        if power is None:
            raise LookupError(f"{part} has no histogram of its mel power")
        return power

    def _version(self, part: str | None, name: str) -> str:
        return " and ".join(sorted({(row.get("versions") or {}).get(name) or "unknown" for row in self._done(part)}))


def _with_interval(one: Comparison | Outcome) -> str:
    interval = verdict_interval(one)
    return f"{points(one.mean)} ({interval})" if interval else points(one.mean)
