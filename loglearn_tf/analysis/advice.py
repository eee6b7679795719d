"""What a study recommends, as data: `recommend.recommend` makes it, `advice_words` says it."""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from loglearn_tf.analysis.best import Ordered, Standing


@dataclass(frozen=True)
class Learning:
    """What learning adds: accuracy of a compression that learns less that of one that does not. Fractions of accuracy.

    Attributes:
        dataset, model: Where.
        learned, fixed: The two.
        same_start: Whether `fixed` is where `learned` begins; else their formulas differ, too.
        n_pairs: Of runs.
        mean: Of the differences: over runs, folds, then n.
        low, high, low_90, high_90: 95 % and 90 % interval; `None` where there is none.
        p_value, p_holm, n_corrected, p_equivalence, margin, verdict: As those of a `contrasts.Contrast`; corrected over
            all such differences of the part.
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
    """What the same trained networks lose where recordings are louder or quieter than those they were trained on.

    Attributes:
        model, compression, gain_db: Which networks, and by how many decibels test clips were made louder.
        change: Their accuracy there less that at the level of the recordings.
        low, high: Its 95 % interval, by itself; `None` where there is none.
    """

    model: str
    compression: str
    gain_db: float
    change: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Level:
    """How loud the recordings of a data set are, as far as compressions see it.

    Attributes:
        dataset: Its name.
        knee: Mel power of loglearn's knee at the start.
        below_knee: Share of all mel power values that lie below it: loglearn and the like make them one constant.
        silent: Share without any power: digital silence.
        clip_dbfs: 5, 50 and 95 % quantile of the levels of clips, RMS in dB below full scale, where -3 is a sine of
            full scale; silent clips not counted. `None` where the study was begun by a version that did not count it.
        at_other_levels: Where the study has `evaluation.gains_db`.
    """

    dataset: str
    knee: float
    below_knee: float | None
    silent: float | None
    clip_dbfs: tuple[float, float, float] | None
    at_other_levels: tuple[AtLevel, ...] = ()


@dataclass(frozen=True)
class More:
    """What would tell two compressions apart, with a chance of 80 %.

    Attributes:
        compression, other: The recommended one, and the one that may be better.
        mean: Accuracy of the first less that of the second, as found.
        as_found: Whether that difference, taken for the true one, is to be found; else that there is none is to be
            shown, within the margin.
        runs, folds: How many more runs in each fold, or more folds, it takes; `None` where no number up to 10,000 does.
        unknown: Why that cannot be told; empty where it can.
    """

    compression: str
    other: str
    mean: float
    as_found: bool
    runs: int | None
    folds: int | None
    unknown: str = ""


@dataclass(frozen=True)
class Answer:
    """Which compression, for one data set and network.

    Attributes:
        dataset, model: Which.
        n_shot: The n that count, each with the same weight.
        folds: Test folds.
        n_runs: Finished runs.
        rests_on: `"folds"`; of a single fold `"runs"`, or `"recordings and runs"`.
        rests_on_because: Of a single fold without recordings: why not.
        ordered: All compressions.
        recommended: One of them.
        reason: `"best"`: it alone can be the best. `"near"`: the simplest of those that are shown to be within the
            margin of the best. `"open"`: the simplest of those that can be the best and whose mean is within the margin
            of the highest: a choice, not a finding. `"highest"`: the same where the highest is alone in that.
            `"alone"`: nothing was compared.
        learns: Whether the recommended one learns anything.
        learning: What learning adds.
        more: What it takes to know more; `None` where nothing is open.
    """

    dataset: str
    model: str
    n_shot: tuple[int | str, ...]
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
        """With the certainty asked for, the best is among these."""
        return tuple(one.compression for one in self.standings if one.can_be_best)

    @property
    def near(self) -> tuple[str, ...]:
        """Shown to be no more than the margin behind the best."""
        return tuple(one.compression for one in self.standings if one.near)


@dataclass(frozen=True)
class Overall:
    """What several answers, of networks or of parts, have in common.

    Attributes:
        n_answers: How many.
        n_open: In how many of these the runs do not decide.
        agree: Whether they recommend the same.
        can_be_best, near: Compressions that are among these in every answer.
        recommended: The one that all recommend, or the simplest that is near the best in all of them, or can be the
            best in all of them; `None` where no compression can.
    """

    n_answers: int
    n_open: int
    agree: bool
    can_be_best: tuple[str, ...]
    near: tuple[str, ...]
    recommended: str | None


@dataclass(frozen=True)
class PartAdvice:
    """What one part of a study recommends, or a study without parts.

    Attributes:
        part: Its name; empty of a study without parts.
        score: Which accuracy all of it rests on: `"settled"` or `"published"`.
        synthetic: Whether the sounds are computed.
        answers: Of every data set and network that has finished runs.
        overall: Of all answers together; `None` where there are fewer than two.
        levels: Of every data set.
        by_other_score: The answers of the other score, where they are others than these.
        other_score_known: Whether that could be compared.
        notes: What must be said of the runs: missing, failed, without this score.
        to_add: What a study needs for what it cannot tell, in words, YAML included.
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
        part: Of which part of the study; empty of all of it.
        heading: What they are about.
        sentences: As text.
        yaml: Lines for a settings file.
    """

    part: str
    heading: str
    sentences: tuple[str, ...]
    yaml: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """What a study recommends; `print` says it in plain sentences.

    Attributes:
        study: Its name.
        margin: Differences within it count as none: 0.02 is 2 points.
        confidence: Of what is said of each part, all together.
        parts: One for each part that has finished runs.
        overall: Of all parts together; `None` where there is one.
        waiting: Parts without a finished run.
        passages: The same in words.
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
        """All of it as plain data."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(one) for one in value]
    # JSON has no NaN.
    return None if value != value else value
