"""Keras' safe mode: the versions in which a `.keras` file can get around it.

Safe mode prevents a model file from running its author's code. The package works with the affected versions, but
does not load untrusted files with them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class WayAround:
    """A fault of Keras.

    Attributes:
        name: Name of the advisory.
        what: What a crafted file can do.
        fixed: The first fixed release of each release line.
    """

    name: str
    what: str
    fixed: tuple[tuple[int, int, int], ...]

    def is_in(self, version: tuple[int, int, int]) -> bool:
        """Whether a release has the fault: it is neither a fixed release of its line nor newer than all."""
        same_line = any(version[:2] == fixed[:2] and version >= fixed for fixed in self.fixed)
        return not same_line and version < max(self.fixed)


# The advisories: github.com/keras-team/keras/security and github.com/advisories; the last, which has no number, is from
# a comparison of the releases. What `saved_models` refuses itself (code in a file, packed parts) is also listed: those
# checks are a second line of defence. CVE-2025-9905 is not listed: it concerns HDF5 files, which are not loaded.
WAYS_AROUND = (
    WayAround("CVE-2025-1550", "call any function", ((3, 9, 0),)),
    WayAround("CVE-2025-8747", "run code by Keras' own functions", ((3, 11, 0),)),
    WayAround("CVE-2025-12058", "read files and URLs as vocabularies", ((3, 12, 0),)),
    WayAround("CVE-2026-1462", "run a SavedModel from elsewhere", ((3, 12, 1), (3, 13, 2))),
    WayAround("CVE-2026-0897", "fill the memory by shapes in HDF5", ((3, 12, 1), (3, 13, 2))),
    WayAround("CVE-2026-12481", "run the code of a Lambda", ((3, 12, 3), (3, 15, 0))),
    WayAround("keras 3.15.1", "read other files by links in HDF5", ((3, 12, 4), (3, 15, 1))),
)
REMEDY = "keras 3.12.4 (the last for Python 3.10) or 3.15.1"


def ways_around(version: str) -> list[WayAround]:
    """The known faults of a version of Keras, such as `"3.13.2"`; empty for versions newer than all known ones."""
    numbers = [int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return [way for way in WAYS_AROUND if way.is_in((major, minor, patch))]
