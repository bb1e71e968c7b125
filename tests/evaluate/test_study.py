"""`factory evaluate study`: what raters get, what they cannot see, and how they answer in a real browser."""

from __future__ import annotations

import base64
import fnmatch
import io
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.evaluate.study import draw_trials
from factory.evaluate.study_files import StudyKey, read_key
from factory.store.dataset import open_data
from factory.store.decode import decode_image
from tests.support.browser import BROWSER, Browser
from tests.support.command import ROOT, Run, refused
from tests.support.study import make_pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("study") / "walks")


def make(factory: Run, data: Path, to: Path, pairs: int = 6, raters: int = 2, **options: object) -> StudyKey:
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = factory("evaluate", "study", data, "--to", to, "--pairs", pairs, "--raters", raters, *flags)
    assert done.returncode == 0, done.stderr
    return read_key(to)


def shown_pairs(page: str) -> list[list[np.ndarray]]:
    """(first, second) image of each trial, as the page holds them."""
    found = re.findall(r'<script type="application/json" id="pair\d+">(.*?)</script>', page, re.S)
    return [[pixels(link) for link in json.loads(pair)] for pair in found]


def pixels(link: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(link.partition("base64,")[2]))), np.float32)


def test_each_rater_sees_all_pairs_in_an_order_and_with_sides_of_their_own(data, tmp_path, factory: Run):
    key = make(factory, data, tmp_path / "s", repeats=2)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["rater-1.html", "rater-2.html", "study.json"]
    one, two = ([trial for trial in trials if not trial.repeat] for trials in key.raters)
    assert {trial.pair for trial in one} == {trial.pair for trial in two} and len(one) == 6
    assert [trial.pair for trial in one] != [trial.pair for trial in two]
    assert {trial.pair: trial.first for trial in one} != {trial.pair: trial.first for trial in two}
    assert "Not for raters" in (tmp_path / "s" / "study.json").read_text()


def test_a_page_shows_the_images_as_the_key_says(data, tmp_path, factory: Run):
    key = make(factory, data, tmp_path / "s", repeats=2)
    opened = open_data(data)
    rows = {row["key"]: row for row in opened.rows.to_pylist()}
    for rater, trials in enumerate(key.raters, 1):
        shown = shown_pairs((tmp_path / "s" / f"rater-{rater}.html").read_text())
        assert len(shown) == len(trials) == 8
        for trial, (first, second) in zip(trials, shown, strict=True):
            files = opened.sample_files(rows[trial.pair])
            initial, final = (decode_image(files[name], opened.job) for name in ("initial.jpg", "jpg"))
            expected = (initial, final) if trial.first == "initial" else (final, initial)
            for image, stored in zip((first, second), expected, strict=True):
                assert np.abs(image - stored).mean() < 6


def test_nothing_in_a_page_tells_initial_from_final(data, tmp_path, factory: Run):
    key = make(factory, data, tmp_path / "s")
    for page in (tmp_path / "s").glob("*.html"):
        source = re.sub(r"data:image/webp;base64,[\w+/=]+|initial-scale=1", "", page.read_text()).lower()
        for word in ("initial", "final", "seed", "refine", key.raters[0][0].pair, "walks", str(data)):
            assert word.lower() not in source, word
        links = re.findall(r"data:image/(\w+);base64,([\w+/=]+)", page.read_text())
        assert {kind for kind, _ in links} == {"webp"}
        headers = [base64.b64decode(data)[:16] for _, data in links]
        assert {(head[:4], head[8:16]) for head in headers} == {(b"RIFF", b"WEBPVP8 ")}  # no metadata in any


def test_a_page_asks_nothing_of_any_server(data, tmp_path, factory: Run):
    make(factory, data, tmp_path / "s")
    page = (tmp_path / "s" / "rater-1.html").read_text()
    assert "default-src 'none'; img-src data:; script-src 'sha256-" in page and "unsafe" not in page
    assert not re.findall(r"https?:|//\w+\.\w+/|<link|<iframe", page)


def test_sides_are_balanced_and_repeats_come_late_with_sides_exchanged():
    keys = [f"k{i:03}" for i in range(101)]
    firsts = []
    for rater in range(1, 30):
        trials = draw_trials(keys, 5, seed=3, rater=rater)
        fresh = [trial for trial in trials if not trial.repeat]
        assert sorted(trial.pair for trial in fresh) == keys
        counts = Counter(trial.first for trial in fresh)
        assert counts["final"] in (50, 51)
        firsts.append(counts["final"])
        place = {trial.pair: (i, trial.first) for i, trial in enumerate(trials) if not trial.repeat}
        again = [(i, trial) for i, trial in enumerate(trials) if trial.repeat]
        assert len({trial.pair for _, trial in again}) == 5
        for i, trial in again:
            before, first = place[trial.pair]
            assert i - before > 30 and first != trial.first
    assert set(firsts) == {50, 51}


def test_the_same_study_is_the_same_bytes_and_another_one_does_not_write_over_it(data, tmp_path, factory: Run):
    folder = tmp_path / "s"
    make(factory, data, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    make(factory, data, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    again = ("evaluate", "study", data, "--to", folder, "--pairs", 6, "--raters")
    refused(factory(*again, 2, "--seed", 1), f"--to {folder}: another study lies there")
    refused(factory(*again, 1), "another study lies there")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert make(factory, data, tmp_path / "t", seed=1).study != read_key(folder).study


def test_the_default_folder_is_named_after_the_data_set(data, tmp_path, monkeypatch, factory: Run):
    monkeypatch.chdir(tmp_path)
    done = factory("evaluate", "study", data, "--pairs", 10, "--raters", 1)
    assert done.returncode == 0, done.stderr
    assert "study-walks: rater-1.html, 10 pairs on a page" in done.stdout
    assert "factory evaluate study-sum study-walks" in done.stdout
    assert (tmp_path / "study-walks" / "rater-1.html").exists()


def test_what_makes_no_study_is_refused_in_one_line(data, tmp_path, factory: Run):
    plain = make_pairs(tmp_path / "plain", records=2, sample={})
    to = ("--to", tmp_path / "s")
    refused(factory("evaluate", "study", plain, *to), "plain holds no initial images", "sample.extras: [initial]")
    refused(factory("evaluate", "study", data, *to), "11 pairs, fewer than --pairs 100; give --pairs 11")
    refused(factory("evaluate", "study", tmp_path, *to), "no data set")
    refused(factory("evaluate", "study", data, "--pairs", 0, *to), "--pairs is 1 to 5,000")
    refused(factory("evaluate", "study", data, "--pairs", 6, "--repeats", 3, *to), "--repeats 3: 0 to 2 of 6 pairs")
    refused(factory("evaluate", "study", data, "--pairs", 6, "--to", "s3://b/x"), "pages are written to a local folder")
    assert not (tmp_path / "s").exists()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "rater-2.html").write_text("mine")
    refused(factory("evaluate", "study", data, "--pairs", 6, *to), "rater-2.html is there and belongs to no study")
    assert (tmp_path / "s" / "rater-2.html").read_text() == "mine"


def test_what_a_page_is_made_of_comes_with_the_package():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    beside = [path.name for path in (ROOT / "factory" / "evaluate").iterdir() if path.suffix in (".css", ".j2", ".js")]
    assert len(beside) == 3
    assert all(any(fnmatch.fnmatch(name, each) for each in patterns["factory.evaluate"]) for name in beside)


class Rater:
    """One rater at a page: each step is awaited, as a person does."""

    def __init__(self, browser: Browser, page: Path) -> None:
        self.browser, self.page = browser, page

    def step(self, how: str, *arguments: object) -> str:
        """Do it and wait until the page shows the next pair; the place that is shown then, such as 2 / 8."""
        self.browser.js("void (window.seen = new Promise(done => addEventListener('shown', () => done())))")
        getattr(self.browser, how)(*arguments)
        self.browser.js("window.seen")
        view, place = self.browser.js("[document.body.dataset.view, document.querySelector('#place').textContent]")
        return "end" if view == "end" else place

    def marked(self) -> list[str]:
        return self.browser.js("[...document.querySelectorAll('footer .chosen')].map(e => e.dataset.answer)")

    def save(self, folder: Path, how: str, button: str) -> dict:
        folder.mkdir(exist_ok=True)
        self.browser.downloads_to(folder)
        getattr(self.browser, how)(button)
        self.browser.downloaded()
        (file,) = folder.iterdir()
        return json.loads(file.read_text())

    def fits(self) -> bool:
        """Whether everything is in view without scrolling, and the images are as large as each other and square."""
        return self.browser.js("""(() => {
            const [one, two] = [...document.querySelectorAll(".picture img")].map(e => e.getBoundingClientRect());
            const inside = r => r.x >= 0 && r.y >= 0 && r.right <= innerWidth && r.bottom <= innerHeight;
            const rests = [...document.querySelectorAll("footer, header button")].map(e => e.getBoundingClientRect());
            return [one, two, ...rests].every(inside) && one.width === two.width && Math.abs(one.width - one.height) < 1
              && document.documentElement.scrollHeight <= innerHeight; })()""")

    def faults(self) -> list[dict]:
        """What the browser logged or threw, and what it asked of servers."""
        bad = [e for e in self.browser.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]
        asked = [e for e in self.browser.events if e["method"] == "Network.requestWillBeSent"]
        return bad + [e for e in asked if e["params"]["request"]["url"].split(":")[0] not in ("file", "data", "blob")]


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no browser (Debian: chromium)")


@needs_browser
def test_at_a_desk_a_rater_answers_by_keys_and_mouse_and_goes_on_another_day(data, tmp_path, factory: Run):
    key = make(factory, data, tmp_path / "s", repeats=2)
    page = tmp_path / "s" / "rater-1.html"
    with Browser(tmp_path / "profile") as browser:
        rater = Rater(browser, page)
        browser.size(1280, 800)
        browser.open(page.as_uri())
        assert rater.step("press", "Enter") == "1 / 8" and rater.fits()
        assert browser.js("document.querySelector('.picture img').width") > 600
        assert rater.step("press", "ArrowLeft") == "2 / 8"
        assert rater.step("press", " ") == "3 / 8"
        assert rater.step("press", "Backspace") == "2 / 8" and rater.marked() == ["no preference"]
        assert rater.step("press", "ArrowRight") == "3 / 8" and rater.marked() == []
        browser.press("ArrowDown")  # means nothing where images stand side by side
        assert rater.step("click", ".picture[data-answer=second]", 2) == "4 / 8"  # a double click answers once
        assert rater.step("click", "#answers [data-answer=first]") == "5 / 8"
        assert rater.step("press", " ") == "6 / 8"  # and does not press the button again
        script = "Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'})"
        assert browser.js(f"document.body.append({script}) || window.ran === undefined")  # the page's policy
        assert len([e for e in rater.faults() if "Content Security Policy" not in json.dumps(e)]) == 0
    with Browser(tmp_path / "profile") as browser:
        rater = Rater(browser, page)
        browser.size(1280, 800)
        browser.open(page.as_uri())
        assert browser.js("document.querySelector('#begin').textContent") == "Go on (5 of 8 answered)"
        assert rater.step("click", "#begin") == "6 / 8"
        assert rater.step("click", "#back") == "5 / 8" and rater.marked() == ["no preference"]
        assert rater.step("click", "#forward") == "6 / 8"
        browser.click("#forward")  # not before this one is answered
        browser.js("document.querySelector('#answers [data-answer=second]').focus()")  # as by Tab
        assert rater.step("press", " ") == "7 / 8"
        for place in ("8 / 8", "end"):
            assert rater.step("press", "ArrowLeft") == place
        saved = rater.save(tmp_path / "downloads", "click", "#end .save")
        assert rater.faults() == []
    expected = ["first", "second", "second", "first", "no preference", "second", "first", "first"]
    assert saved == {"study": key.study, "rater": 1, "answers": expected}
    (file,) = (tmp_path / "downloads").iterdir()
    assert file.name == f"answers-{key.study}-rater-1.json"
    summed = factory("evaluate", "study-sum", tmp_path / "s", file, "--json")
    assert summed.returncode == 0, summed.stderr
    assert json.loads(summed.stdout)["raters"][0]["answered"] == 8


@needs_browser
def test_on_a_phone_a_rater_answers_by_touch_and_may_save_before_the_end(data, tmp_path, factory: Run):
    key = make(factory, data, tmp_path / "s", repeats=2)
    page = tmp_path / "s" / "rater-2.html"
    with Browser(tmp_path / "profile") as browser:
        rater = Rater(browser, page)
        browser.size(390, 844, phone=True)
        browser.open(page.as_uri())
        assert rater.step("tap", "#begin") == "1 / 8" and rater.fits()
        assert browser.js("document.querySelector('.picture img').width") > 310
        tops = browser.js("[...document.querySelectorAll('.picture')].map(e => e.getBoundingClientRect().bottom)")
        assert tops[0] < tops[1]  # one above the other
        assert browser.js("document.querySelector('#answers').innerText.split(/\\s+/).join(' ')").startswith("Upper No")
        assert rater.step("tap", ".picture[data-answer=second]") == "2 / 8"
        assert rater.step("tap", "#answers [data-answer=first]") == "3 / 8"
        assert rater.step("tap", "#answers [data-answer='no preference']") == "4 / 8"
        browser.reload()
        assert browser.js("document.querySelector('#begin').textContent") == "Go on (3 of 8 answered)"
        assert rater.step("tap", "#begin") == "4 / 8"
        assert rater.step("tap", "#back") == "3 / 8" and rater.marked() == ["no preference"]
        saved = rater.save(tmp_path / "downloads", "tap", "header .save")
        browser.size(844, 390, phone=True)
        assert rater.fits()
        browser.js("localStorage.setItem(Object.keys(localStorage)[0], '[1, {')")
        browser.reload()
        assert browser.js("document.querySelector('#begin').textContent") == "Start"  # what is no answer is forgotten
        none = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('refused'); }})"
        assert browser.js("document.querySelector('#unkept').hidden")
        browser.ask("Page.addScriptToEvaluateOnNewDocument", source=none)
        browser.reload()
        assert browser.js("document.querySelector('#unkept').innerText").startswith("This browser keeps no answers")
        assert rater.step("tap", "#begin") == "1 / 8" and rater.step("tap", "#answers [data-answer=first]") == "2 / 8"
        assert rater.faults() == []
    assert saved == {"study": key.study, "rater": 2, "answers": ["second", "first", "no preference", *[None] * 5]}
    summed = factory("evaluate", "study-sum", tmp_path / "s", *(tmp_path / "downloads").iterdir())
    assert summed.returncode == 0 and "note: unfinished: rater 2 (3 of 8)" in summed.stdout, summed.stderr
