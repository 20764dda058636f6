"""The report in a real browser: it fits telephones and screens, by day and by night."""

import html
import json
import re
import shutil
import subprocess

import pytest
from test_report import make_model, make_run

from mvae_tf.runs.report import write_report

WIDTHS = (390, 1200)
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs Chromium in the path to lay out a page"
)

# Frames of a width have media queries of their own; windows cannot be so narrow.
_MEASURE = """
<script>
addEventListener("load", () => {
  const measured = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, view = frame.contentWindow;
    const root = page.documentElement, width = root.clientWidth;
    const style = (selector) => {
      const found = page.querySelector(selector);
      return found && view.getComputedStyle(found).color;
    };
    const all = [...page.body.querySelectorAll("*")];
    const shown = all.filter((e) => e.getClientRects().length);
    measured[width] = {
      scroll: root.scrollWidth,
      over: shown.filter((e) => e.getBoundingClientRect().right > width + 0.5
        || e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0
        && view.getComputedStyle(e).display != "inline").map((e) => e.outerHTML),
      small: shown.filter((e) => e.tagName == "A" && e.getBoundingClientRect().height
        < 24).map((e) => e.outerHTML),
      images: [...page.images].map((e) => [e.naturalWidth, e.clientWidth]),
      heads: shown.filter((e) => e.tagName == "TH").length,
      background: view.getComputedStyle(root).backgroundColor,
      colours: ["body", ".quiet", ".mark", "a", "figcaption"].map(style),
    };
  }
  document.body.textContent = JSON.stringify(measured);
});
</script>
"""


def laid_out(page, folder, dark):
    """What the browser measures of a page in each of `WIDTHS`."""
    text = html.escape(page.read_text(encoding="utf-8"))
    frames = "".join(
        f'<iframe srcdoc="{text}" width="{width}" height="900" style="border:0">'
        "</iframe>"
        for width in WIDTHS
    )
    wrapper = folder / "frames.html"
    wrapper.write_text(f"<!DOCTYPE html><body>{frames}{_MEASURE}", encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--hide-scrollbars", "--virtual-time-budget=20000"]
    command += [f"--user-data-dir={folder / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    done = subprocess.run(
        [*command, wrapper.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    (found,) = re.findall(r"<body>(.*?)</body>", done.stdout, re.DOTALL)
    measured = json.loads(html.unescape(found))
    assert set(measured) == set(map(str, WIDTHS))
    return {int(width): values for width, values in measured.items()}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / ("a_run_with_a_rather_long_name" * 2)
    check = {"value": 2.0, "limit": 1.0, "slack": 0.1, "failures": 1, "num_images": 6}
    test = {
        "elbo": -3.5,
        "sse_sampled": 4.25,
        "accuracy_mlp_component_0": 97.25,
        "component_usage": [0.125] * 12,
        "audit": {"elbo": check | {"holds": False}},
    }
    metrics = {"test": test, "step": 12}
    make_run(folder, make_model(), metrics=metrics, preset="mvae-gs-k4-mnist")
    return write_report(folder)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_fits_and_can_be_read(page, tmp_path, dark):
    measured = laid_out(page, tmp_path, dark)
    for width, found in measured.items():
        assert found["scroll"] <= width
        assert found["over"] == []
        assert found["small"] == []
        assert all(0 < shown <= width for _, shown in found["images"])
        background = luminance(found["background"])
        assert (background < 0.1) == dark
        for colour in filter(None, found["colours"]):
            assert contrast(luminance(colour), background) >= 4.5, colour
    # Tables of many columns are tables on a screen and cards on a telephone.
    assert measured[390]["heads"] < measured[1200]["heads"]


def luminance(colour):
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.1)."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    lighter, darker = max(first, second), min(first, second)
    return (lighter + 0.05) / (darker + 0.05)
