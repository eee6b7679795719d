"""Tests the published findings against the comparisons of a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loglearn_tf.analysis.names import model_name
from loglearn_tf.analysis.statistics import Comparison
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.errors import ConfigError

PUBLISHED_FINDINGS = Path(__file__).with_name("published_findings.yaml")

Claim = Literal["better", "worse", "much_worse", "equivalent"]
Quantifier = Literal["every", "most", "some"]
Percent = Annotated[float, Field(ge=0, le=100)]
Cell = tuple[str, NShot]


class _Data(BaseModel):
    # Strict: a misread finding would change a verdict.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(_Data):
    """The publication of the findings."""

    title: str
    author: str
    url: Annotated[str, Field(pattern="^https?://")]


class Finding(_Data):
    """A statement of the source, and how it is checked against a study.

    Attributes:
        id: A short name.
        statement: The statement.
        dataset, models, n_shot: Its cells, models x n.
        claim: What is claimed for a cell (see published_findings.yaml).
        cells: In how many cells it must hold.
    """

    id: str
    statement: str
    dataset: Annotated[str, Field(min_length=1)]
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    n_shot: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    claim: Claim
    cells: Quantifier


class Published(_Data):
    """The content of published_findings.yaml.

    Attributes:
        format: Format version.
        source: Publication.
        findings: Findings, in the order of the source.
        published_accuracy: Data set -> model -> compression -> n -> accuracy in percent; empty until the published
            tables are available as numbers.
    """

    format: Literal[1]
    source: Source
    findings: tuple[Finding, ...]
    published_accuracy: dict[str, dict[str, dict[str, dict[int, Percent]]]] = {}


@dataclass(frozen=True)
class Evidence:
    """One cell of a finding, with runs.

    Attributes:
        comparison: Loglearn against log-EPS there.
        speaks: `"for"` the finding, `"against"` it, or `"neither"`.
    """

    comparison: Comparison
    speaks: str


@dataclass(frozen=True)
class Verdict:
    """The verdict of a study on a finding.

    Attributes:
        finding: The finding.
        state: `"supported"`, `"contradicted"`, `"undecided"` or `"not run"`.
        final: Whether the cells without runs cannot change it, whatever their outcome.
        evidence: The cells behind it.
        not_run: (model, n) of cells without runs.
        reason: The reason, in words.
    """

    finding: Finding
    state: str
    final: bool
    evidence: tuple[Evidence, ...]
    not_run: tuple[Cell, ...]
    reason: str

    @property
    def label(self) -> str:
        """The state, marked if it could still change."""
        open_ = not self.final and self.state in ("supported", "contradicted")
        return f"{self.state}, as far as run" if open_ else self.state


def load_published(path: Path = PUBLISHED_FINDINGS) -> Published:
    """Reads the published findings.

    Raises:
        ConfigError: If the file is missing, not YAML, or not in the form described in its comments.
    """
    remedy = f"Its form is described in {PUBLISHED_FINDINGS}."
    try:
        return Published.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read published findings {path}: {' '.join(str(error).split())}. {remedy}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"`{key}` in {path}: {first['msg'][0].lower()}{first['msg'][1:]}. Received: {first['input']!r}. {remedy}"
        ) from error


def judge(
    findings: Iterable[Finding], comparisons: Sequence[Comparison], *, synthetic: Iterable[str] = ()
) -> list[Verdict]:
    """Gives every finding its verdict.

    Args:
        findings: From `load_published`.
        comparisons: From `statistics.compare`, loglearn against log-EPS; missing cells were not run.
        synthetic: Data sets with computed clips. They say nothing about the real ones, so their findings stay "not
            run".
    """
    verdicts = []
    for finding in findings:
        found = {(one.model, one.n_shot): one for one in comparisons if one.dataset == finding.dataset}
        verdicts.append(_judge(finding, found, synthetic=finding.dataset in set(synthetic)))
    return verdicts


def speaks(comparison: Comparison, claim: Claim) -> str:
    """Whether one cell is evidence `"for"` a claim, `"against"` it, or `"neither"`.

    Better and worse are the verdicts of the comparison, which are corrected for the number of cells; the size of a
    difference is judged by its interval.
    """
    verdict, margin = comparison.verdict, comparison.margin
    if verdict == "undecided" or comparison.low is None or comparison.high is None:
        return "neither"
    low, high = comparison.low, comparison.high
    if claim == "equivalent":
        supports = verdict == "equivalent"
        # Better, but perhaps by less than the margin: inconclusive.
        opposes = low >= margin or high <= -margin
    elif claim == "much_worse":
        supports = verdict == "worse" and high < -margin
        opposes = verdict != "worse" or low > -margin
    else:
        supports = verdict == claim
        # An equivalent cell can have a significant gain that is too small to matter.
        certain = low > 0 if claim == "better" else high < 0
        opposes = not supports and not (verdict == "equivalent" and certain)
    return "for" if supports else "against" if opposes else "neither"


def how_checked(finding: Finding, margin: float) -> str:
    """The check in words, for the report."""
    points = f"{100 * margin:g} points"
    claim = {
        "better": "loglearn better",
        "worse": "loglearn worse",
        "much_worse": f"loglearn worse by more than {points}",
        "equivalent": f"a difference smaller than {points}",
    }[finding.claim]
    cells = {"every": "every cell", "most": "more than half of the cells", "some": "at least one cell"}[finding.cells]
    models = ", ".join(map(model_name, finding.models))
    return f"{claim} in {cells} of {models} at n = {', '.join(map(str, finding.n_shot))}"


def _judge(finding: Finding, found: dict[Cell, Comparison], *, synthetic: bool) -> Verdict:
    asked = [(model, n) for model in finding.models for n in finding.n_shot]
    run = [found[cell] for cell in asked if cell in found]
    not_run = tuple(cell for cell in asked if cell not in found)
    if synthetic or not run:
        reason = "none of its cells was run"
        if synthetic:
            reason = (
                "synthetic sounds say nothing about it" if run else "none of its cells was run, on real sounds or not"
            )
        return Verdict(finding, "not run", False, (), tuple(asked), reason)
    evidence = tuple(Evidence(one, speaks(one, finding.claim)) for one in run)
    n_for, n_against = (sum(one.speaks == side for one in evidence) for side in ("for", "against"))
    state, final = _decide(finding.cells, n_for, n_against, len(run), len(asked))
    reason = (
        f"of {len(asked)} cells, {len(run)} {'was' if len(run) == 1 else 'were'} run: {n_for} for it, "
        f"{n_against} against it, {len(run) - n_for - n_against} neither"
    )
    return Verdict(finding, state, final, evidence, not_run, reason)


def _decide(quantifier: Quantifier, n_for: int, n_against: int, n_run: int, n_asked: int) -> tuple[str, bool]:
    """The state according to the cells that were run, and whether the others cannot change it."""
    if quantifier == "every":
        if n_against:
            return "contradicted", True
        return ("supported" if n_for == n_run else "undecided"), n_run == n_asked
    if quantifier == "some":
        if n_for:
            return "supported", True
        return ("contradicted" if n_against == n_run else "undecided"), n_run == n_asked
    for state, votes in (("supported", n_for), ("contradicted", n_against)):
        if 2 * votes > n_run:
            return state, 2 * votes > n_asked
    return "undecided", n_run == n_asked
