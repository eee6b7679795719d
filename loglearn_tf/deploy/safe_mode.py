"""What is known of Keras' safe mode: the versions in which a `.keras` file can get around it.

Safe mode is what keeps a model's file from running code of whoever wrote it. The package works with these versions;
what it does not do with them is load a file that nobody vouches for.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class WayAround:
    """A fault of Keras.

    Attributes:
        name: Where it is described.
        what: A crafted file can do.
        fixed: The first release without it, of each line of releases that got one.
    """

    name: str
    what: str
    fixed: tuple[tuple[int, int, int], ...]

    def is_in(self, version: tuple[int, int, int]) -> bool:
        """Whether a release has the fault: neither is it of a line that was fixed, and as new, nor newer than all."""
        same_line = any(version[:2] == fixed[:2] and version >= fixed for fixed in self.fixed)
        return not same_line and version < max(self.fixed)


# The advisories: github.com/keras-team/keras/security and github.com/advisories; the last, which has no number, is from
# a comparison of the releases. What `saved_models` refuses by itself (code in a file, packed parts) is listed, too: it
# is a second lock, not the first. CVE-2025-9905 is left out: it is of HDF5 files, which are not loaded.
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
    """Those that are known of a version of Keras, such as `"3.13.2"`; none of one newer than all that is known."""
    numbers = [int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return [way for way in WAYS_AROUND if way.is_in((major, minor, patch))]
