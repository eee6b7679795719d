"""
The report of a study
=====================

``report.html`` is what a study ends with: one page with a short answer, tables with intervals and verdicts, and
figures. It is a single file without scripts, so it can be sent by mail and opened years later.
"""

# %%
# A small study on synthetic sounds, as in :doc:`/auto_tutorials/2_study`:

import base64
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from loglearn_tf import load_settings, run_study

workspace = tempfile.TemporaryDirectory()  # removed when the script ends
folder = Path(workspace.name)
settings = load_settings(
    "demo",
    [
        f"data.root={folder / 'us8k'}",
        f"features.store_dir={folder / 'stores'}",
        f"runs_dir={folder / 'runs'}",
        "data.synthetic.clips_per_class=4",
        "models=timbre",
        "compressions=[logeps, loglearn, loglearn_adapted]",
        "n_shot=[1, 4]",
        "folds=[1, 2, 3]",
        "runs=1",
        "training.epochs=15",
        "evaluation.patch_hop=32",
        "tensorboard=none",
        "workers=1",  # each one first takes seconds to load TensorFlow
    ],
)
result = run_study(settings)
print("\n".join((result.study_dir / "report.md").read_text().splitlines()[:12]))

# %%
# The page
# --------
# Where the browser Chromium is installed, it draws the page here.


def screenshot(page, picture):
    """The page as a PNG file; whether that worked."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        print("Chromium is not installed here.")
        return False
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
    options += [f"--user-data-dir={folder / 'browser'}", "--window-size=900,1500", f"--screenshot={picture}"]
    try:
        subprocess.run([browser, *options, page.as_uri()], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print("Chromium cannot draw the page here:", type(error).__name__)
        return False
    return picture.is_file()


if screenshot(result.report, folder / "report.png"):
    picture = plt.imread(folder / "report.png")
    caption = "The top of report.html, drawn by Chromium."
    figure = plt.figure(figsize=(6, 6 * picture.shape[0] / picture.shape[1]), num=caption)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.axis("off")
    plt.show()

# %%
# Its figures
# -----------
# The folders ``figures`` and ``tables`` hold the parts of the page as files: SVG and PDF for figures, Markdown, CSV
# and LaTeX for tables.


class Drawing:
    """An SVG file as it looks on a page or in a notebook."""

    def __init__(self, path, alt):
        self.source, self.alt = base64.b64encode(path.read_bytes()).decode(), alt

    def _repr_html_(self):
        return f'<img src="data:image/svg+xml;base64,{self.source}" alt="{self.alt}" style="background: white">'


drawings = sorted((result.study_dir / "figures").glob("*.svg"))
print("\n".join(path.name for path in drawings))
Drawing(drawings[0], "Accuracy of each compression against the number of training clips per class.")
