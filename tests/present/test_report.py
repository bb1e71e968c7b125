"""The report of a small data set, read as a browser would."""

import re
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory import config
from factory.job import JobSpec
from factory.models.camera import full_image_K
from factory.plan import plan
from factory.present import report
from factory.record import Person, Reason, Record, Unit
from factory.store.ledger import open_ledger
from factory.store.part import pack

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def person(size: int) -> Person:
    zeros = np.zeros
    return Person(
        global_orient=np.array([np.pi, 0, 0], np.float32),
        body_pose=zeros(69, np.float32),
        betas=zeros(10, np.float32),
        transl=np.array([0, 0.1, 55], np.float32),
        K=full_image_K(size, size),
        camera=zeros(3, np.float32),
        crop=zeros(3, np.float32),
        joints2d=zeros((49, 3), np.float32),
        joints3d=zeros((49, 4), np.float32),
        bbox=zeros(4, np.float32),
    )


def fill(record: Record, size: int) -> None:
    record.initial = record.final = np.full((size, size, 3), 120, np.uint8)
    record.person_mask = record.object_mask = np.zeros((size, size), bool)
    record.depth = np.zeros((size, size), np.float32)
    record.people = [person(size)]
    record.refined = True
    record.pose_score = 41.5


def commit(job: JobSpec, units: int) -> None:
    """The first units of the job: in each the first record is ok, the second rejected."""
    planned = plan(job)
    with open_ledger(job, planned) as ledger:
        for shard, index in islice(ledger.missing(), units):
            unit: Unit = planned.unit(shard, index)
            fill(unit.records[0], job.image_size)
            for record in unit.records[1:]:
                record.reject(Reason.NO_PERSON, "estimate")
            ledger.commit(shard, index, pack(unit, job))
            ledger.seal(shard)


@pytest.fixture
def job(job_file: Path) -> JobSpec:
    return config.load(job_file, ["prompts.person=['a person <b>&']"])


def test_page_is_self_contained_and_small(job: JobSpec) -> None:
    commit(job, 2)
    path, written = report.write(job.output)
    page = path.read_text()
    assert written and path == Path(job.output) / "report.html"
    assert len(page) < 200_000
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)[^"' >]+""", page.split("<script>")[0])
    assert page.count("<img src=") == 2 * len(report.COLUMNS)
    assert "2 no person" in page and ">41.5<" in page and "complete" in page
    assert "a person &lt;b&gt;&amp;" in page and "<b>&" not in page
    assert Image.open(path.with_name("contact.png")).size[0] > 300


def test_unchanged_data_are_not_drawn_again_and_changed_are(job: JobSpec) -> None:
    commit(job, 1)
    assert report.write(job.output)[1]
    assert not report.write(job.output)[1]
    assert report.write(job.output, limit=1)[1]
    commit(job, 1)
    path, written = report.write(job.output, limit=1)
    assert written and "1 of 2 samples" in path.read_text()


def test_parts_are_shown_before_their_shard_is_sealed(job: JobSpec) -> None:
    commit(job, 1)
    page = report.write(job.output)[0].read_text()
    assert "in progress" in page and "0 of 1 shards sealed" in page and "2</b> pending" in page
    assert page.count("<article") == 1


def test_nothing_done_yet(job: JobSpec) -> None:
    commit(job, 0)
    assert "No finished sample yet" in report.write(job.output)[0].read_text()


def test_extras_that_were_not_stored_are_named(job_file: Path) -> None:
    job = config.load(job_file, ["sample.extras=[]"])
    commit(job, 2)
    page = report.write(job.output)[0].read_text()
    assert page.count("not stored") == 2 * 3  # initial, masks, depth
    assert page.count("<img src=") == 2 * 2


def test_limit_spreads_over_the_data(job: JobSpec) -> None:
    rows = [{"key": str(i)} for i in range(100)]
    assert [row["key"] for row in report._spread(rows, 4)] == ["0", "25", "50", "75"]
    assert report._spread(rows, 100) == rows


@pytest.mark.skipif(BROWSER is None, reason="no browser (Debian: chromium)")
def test_browser_shows_every_picture_and_filters(job: JobSpec, tmp_path: Path) -> None:
    commit(job, 2)
    path, _ = report.write(job.output)
    probe = """<script>addEventListener("load", () => {
      const shown = () => [...document.querySelectorAll("article")].filter(card => card.offsetParent).length;
      const before = shown();
      document.querySelector("button[data-kind=kept]").click();
      const after = shown();
      document.querySelector("button[data-kind=all]").click();
      const images = [...document.querySelectorAll("figure img")];
      images.forEach(image => image.loading = "eager");
      Promise.all(images.map(image => image.decode())).then(() => document.title =
        `${before} ${after} ${images.filter(image => image.naturalWidth >= 128).length}`);
    })</script></body>"""
    page = tmp_path / "probe.html"
    page.write_text(path.read_text().replace("</body>", probe))
    switches = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    command = [BROWSER, *switches.split(), f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"]
    result = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120)
    assert f"<title>2 0 {2 * len(report.COLUMNS)}</title>" in result.stdout
