"""The recommendation of a study as data: made by `recommend.recommend`, put into words by `advice_words`."""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from loglearn_tf.analysis.best import Ordered, Standing


@dataclass(frozen=True)
class Learning:
    """What learning adds: accuracy of a learned compression minus that of a fixed one. Fractions of accuracy.

    Attributes:
        dataset, model: Data set and network.
        learned, fixed: The two compressions.
        same_start: Whether `fixed` stays where `learned` starts; otherwise their formulas differ, too.
        n_pairs: Number of pairs of runs.
        mean: Mean difference: over runs, then folds, then n.
        low, high, low_90, high_90: 95 % and 90 % interval; `None` if it cannot be computed.
        p_value, p_holm, n_corrected, p_equivalence, margin, verdict: As in `contrasts.Contrast`, corrected over all
            such differences of the part.
    """

    dataset: str
    model: str
    learned: str
    fixed: str
    same_start: bool
    n_pairs: int
    mean: float
    low: float | None
    high: float | None
    low_90: float | None
    high_90: float | None
    p_value: float | None
    p_holm: float | None
    n_corrected: int
    p_equivalence: float | None
    margin: float
    verdict: str


@dataclass(frozen=True)
class AtLevel:
    """How the accuracy of trained networks changes if recordings are louder or quieter than in training.

    Attributes:
        model, compression, gain_db: Which networks, and by how many decibels test clips were made louder.
        change: Their accuracy at that level minus that at the original level.
        low, high: Its 95 % interval, uncorrected; `None` if it cannot be computed.
    """

    model: str
    compression: str
    gain_db: float
    change: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Level:
    """How loud the recordings of a data set are, as far as it matters to compressions.

    Attributes:
        dataset: Its name.
        knee: Mel power at loglearn's initial knee.
        below_knee: Share of all mel bins below it, which loglearn and similar compressions map to one constant.
        silent: Share with zero power: digital silence.
        clip_dbfs: 5, 50 and 95 % quantiles of the clip levels, RMS in dB relative to full scale, where a full-scale
            sine is -3; silent clips are not counted. `None` if the study was started by a version that did not record
            it.
        at_other_levels: Changes of accuracy, if the study has `evaluation.gains_db`.
    """

    dataset: str
    knee: float
    below_knee: float | None
    silent: float | None
    clip_dbfs: tuple[float, float, float] | None
    at_other_levels: tuple[AtLevel, ...] = ()


@dataclass(frozen=True)
class More:
    """What it takes to distinguish two compressions with a power of 80 %.

    Attributes:
        compression, other: The recommended one, and the one that may be better.
        mean: Observed accuracy of the first minus that of the second.
        as_found: If true, the observed difference is assumed to be the true one and is to be detected; otherwise
            equivalence within the margin is to be shown.
        runs, folds: Additional runs per fold, or additional folds; `None` if no number up to 10,000 is enough.
        unknown: Why this is unknown; empty if it is known.
        unfinished: Whether it is unknown since the two have no n with runs in two common folds, though the study has
            several.
    """

    compression: str
    other: str
    mean: float
    as_found: bool
    runs: int | None
    folds: int | None
    unknown: str = ""
    unfinished: bool = False


@dataclass(frozen=True)
class Answer:
    """The recommended compression for one data set and network.

    Attributes:
        dataset, model: Data set and network.
        n_shot: Values of n, with equal weights: those in which two compressions are compared; of several folds, in two
            of them or more.
        n_of_all: Those that all compressions have run, over which mean accuracies are; if there are none, they are over
            what each has run.
        folds: Test folds.
        n_runs: Number of finished runs.
        rests_on: `"folds"`; for a single fold, `"runs"` or `"recordings and runs"`.
        rests_on_because: Why recordings were not used, for a single fold.
        ordered: All compressions, in order.
        recommended: The recommended compression.
        reason: `"best"`: the only one that can be the best. `"near"`: the simplest of those shown to be within the
            margin of the best. `"open"`: the simplest of those that can be the best and whose mean is within the margin
            of the highest, or not comparable with it: a choice, not a finding. `"highest"`: the same if only the
            highest qualifies. `"alone"`: there was nothing to compare.
        learns: Whether the recommended one has learned parameters.
        learning: What learning adds.
        more: What it takes to decide more; `None` if nothing is open.
    """

    dataset: str
    model: str
    n_shot: tuple[int | str, ...]
    n_of_all: tuple[int | str, ...]
    folds: tuple[int, ...]
    n_runs: int
    rests_on: str
    rests_on_because: str
    ordered: Ordered
    recommended: str
    reason: str
    learns: bool = True
    learning: tuple[Learning, ...] = ()
    more: More | None = None

    @property
    def standings(self) -> tuple[Standing, ...]:
        return self.ordered.standings

    @property
    def can_be_best(self) -> tuple[str, ...]:
        """Compressions that include the best one, with the requested confidence."""
        return tuple(one.compression for one in self.standings if one.can_be_best)

    @property
    def near(self) -> tuple[str, ...]:
        """Compressions shown to be no more than the margin behind the best."""
        return tuple(one.compression for one in self.standings if one.near)


@dataclass(frozen=True)
class Overall:
    """What the answers for several networks or parts have in common.

    Attributes:
        n_answers: Number of answers.
        n_open: Number of answers that the runs do not decide.
        agree: Whether they all recommend the same compression.
        can_be_best, near: Compressions in this set in every answer.
        recommended: The one that all recommend; else the simplest that is near the best in all of them, or that can be
            the best in all of them; `None` if there is no such compression.
    """

    n_answers: int
    n_open: int
    agree: bool
    can_be_best: tuple[str, ...]
    near: tuple[str, ...]
    recommended: str | None


@dataclass(frozen=True)
class PartAdvice:
    """The recommendation of one part of a study, or of a study without parts.

    Attributes:
        part: Its name; empty for a study without parts.
        score: The accuracy used: `"settled"` or `"published"`.
        synthetic: Whether the sounds are computed.
        answers: One for each data set and network with finished runs.
        overall: All answers together; `None` if there are fewer than two.
        levels: One for each data set.
        by_other_score: Answers by the other score, if they differ.
        other_score_known: Whether the other score was available.
        notes: Notes on missing or failed runs, or runs without this score.
        to_add: What the study lacks for a complete answer, as YAML lines.
    """

    part: str
    score: str
    synthetic: bool
    answers: tuple[Answer, ...]
    overall: Overall | None
    levels: tuple[Level, ...]
    by_other_score: tuple[Answer, ...]
    other_score_known: bool
    notes: tuple[str, ...] = ()
    to_add: tuple[str, ...] = ()


@dataclass(frozen=True)
class Passage:
    """Sentences under a heading.

    Attributes:
        part: Part of the study; empty for the whole study.
        heading: Heading.
        sentences: The sentences.
        yaml: Lines for a settings file.
    """

    part: str
    heading: str
    sentences: tuple[str, ...]
    yaml: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """The recommendation of a study; `print` shows it in plain sentences.

    Attributes:
        study: Name of the study.
        margin: Differences within it count as zero: 0.02 is 2 points.
        confidence: Joint confidence of the statements about each part.
        parts: One for each part with finished runs.
        overall: All parts together; `None` if there is only one.
        waiting: Parts without finished runs.
        passages: The recommendation in words.
    """

    study: str
    margin: float
    confidence: float
    parts: tuple[PartAdvice, ...]
    overall: Overall | None
    waiting: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        blocks = [self.study]
        for one in self.passages:
            lines = [f"{f'{one.part}: ' if one.part else ''}{one.heading}"]
            for sentence in one.sentences:
                lines += textwrap.wrap(
                    sentence, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
                )
            blocks.append("\n".join([*lines, *(f"    {line}" for line in one.yaml)]))
        return "\n\n".join(blocks)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(one) for one in value]
    # JSON has no NaN.
    return None if value != value else value
