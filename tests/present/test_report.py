"""The report of a small data set, read as a browser would."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from factory import config
from factory.errors import UserError
from factory.job import JobSpec
from factory.present import report
from factory.present.mesh import coarse, encode_bodies
from factory.present.samples import spread
from factory.record import Record
from factory.store.dataset import open_data
from tests.support import small

pytestmark = pytest.mark.heavy(15)

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
COLUMNS = len(report.COLUMNS)


@pytest.fixture
def job(job_file: Path) -> JobSpec:
    return config.load_job(job_file, ["prompts.person=['a person </script><b>&']", "image_size=64"])


def page(job: JobSpec, limit: int = 48) -> str:
    address, _ = report.write_report(open_data(job.output), limit)
    assert address == (Path(job.output) / "report.html").as_uri()
    return (Path(job.output) / "report.html").read_text()


def scripts(text: str) -> dict[str, dict]:
    found = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', text, re.S)
    return {name: json.loads(content) for name, content in found}


def test_page_is_self_contained_and_small(job: JobSpec) -> None:
    small.make(job, rejected=(1, 3), two=())
    text = page(job)
    assert len(text) < 300_000
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.findall(r"""(?:src|href)=["']?[^"' >]+|url\(""", markup) and "http" not in markup
    data, *samples = scripts(text).values()
    assert len(samples) == 2 and all(set(sample["pictures"]) == set(report.COLUMNS) for sample in samples)
    assert all(link.startswith("data:image/webp;base64,") for s in samples for link in s["pictures"].values())
    assert [(row["state"], row["sample"]) for row in data["rows"]] == [
        ("ok", 0),
        ("rejected", -1),
        ("ok", 1),
        ("rejected", -1),
    ]
    assert data["rows"][1]["why"] == "render: too small" and "2 too small" in markup and "complete" in markup
    assert data["rows"][0]["prompt"].startswith("a photo of a person </script><b>&") and "<b>&" not in text
    assert Image.open(Path(job.output, "contact.png")).size[0] > 300


def test_unchanged_data_are_not_drawn_again_and_changed_are(job: JobSpec) -> None:
    small.make(job, units=1, rejected=())
    assert report.write_report(open_data(job.output))[1]
    assert not report.write_report(open_data(job.output))[1]
    assert report.write_report(open_data(job.output), limit=1)[1]
    small.make(job, units=1, rejected=())
    assert report.write_report(open_data(job.output), limit=1)[1] and "1 of 4 samples" in page(job, 1)


def test_parts_are_shown_before_their_shard_is_sealed(job: JobSpec) -> None:
    small.make(job, units=1, rejected=(1,))
    text = page(job)
    assert "in progress" in text and "0 of 1 shards sealed" in text and "2</b> pending" in text
    assert set(scripts(text)) == {"data", "sample0"}


def test_nothing_done_yet(job: JobSpec) -> None:
    small.make(job, units=0)
    assert "No finished sample yet" in page(job)


def test_extras_that_were_not_stored_are_left_out(job_file: Path) -> None:
    job = config.load_job(job_file, ["sample.extras=[]", "image_size=64"])
    small.make(job, rejected=())
    assert set(scripts(page(job))["sample0"]["pictures"]) == {"final", "mesh"}


def test_figures_are_those_of_the_index(job: JobSpec) -> None:
    small.make(job, rejected=(1,))
    text = page(job)
    oks = [row["oks"] for row in open_data(job.output).rows.to_pylist() if row["size"]]
    assert f"median <b>{np.median(oks):.3f}</b>" in text.partition(">OKS<")[2][:80]


def test_limit_spreads_over_the_data() -> None:
    rows = [{"key": str(i)} for i in range(100)]
    assert [row["key"] for row in spread(rows, 4)] == ["0", "25", "50", "75"]
    assert spread(rows, 100) == rows


def test_the_small_body_lies_on_the_large_one() -> None:
    """Its vertices are the body's own, none of its faces is degenerate, and no two parts are joined."""
    record = Record("a", 3, "a person")
    small.fill(record, 64, people=2)
    names = ("global_orient", "body_pose", "betas", "transl", "K")
    people = {name: np.stack([getattr(person, name) for person in record.people]) for name in names}
    packed = encode_bodies(people, small.body())
    import base64

    points = np.frombuffer(base64.b64decode(packed["vertices"]), "<i2").reshape(2, -1, 3) * packed["step"]
    picks, faces = coarse(small.body())
    vertices, _ = small.body()(*(torch.from_numpy(people[name]) for name in names[:4]))
    assert np.abs(points + packed["centre"] - vertices[:, picks].numpy()).max() < 2e-3 and 1000 < len(picks) < 2500
    assert faces.max() == len(picks) - 1 and (faces[:, 0] != faces[:, 1]).all()
    corners = vertices[0, picks][faces].numpy()
    assert np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1).max() < 0.25


def test_the_report_of_a_data_set_that_may_not_be_written_goes_where_it_is_told(
    job: JobSpec, tmp_path, factory
) -> None:
    small.make(job)
    where = Path(job.output)
    address, written = report.write_report(open_data(job.output), to=str(tmp_path / "seen" / "pilot.html"))
    assert (address, written) == ((tmp_path / "seen" / "pilot.html").as_uri(), True)
    assert not report.write_report(open_data(job.output), to=str(tmp_path / "seen" / "pilot.html"))[1]
    assert [path.name for path in (tmp_path / "seen").iterdir()] == ["pilot.html"]
    assert (
        report.write_report(open_data(job.output), to=str(tmp_path / "reports"))[0]
        == (tmp_path / "reports/report.html").as_uri()
    )
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["contact.png", "report.html"]
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(UserError, match="--to .*mine.html is there and belongs to no report"):
        report.write_report(open_data(job.output), to=str(tmp_path / "mine.html"))
    assert (tmp_path / "mine.html").read_text() == "mine" and not (where / "report.html").exists()
    if subprocess.run(["mount", "--bind", "-o", "ro", where, where], capture_output=True).returncode:
        pytest.skip("only root may make a read-only folder of it")
    try:
        refused = factory("inspect", where)
        told = factory("inspect", where, "--to", tmp_path / "again")
    finally:
        subprocess.run(["umount", where], check=True)
    assert refused.returncode == 2 and "it is read-only" in refused.stderr
    assert f"factory inspect {where} --to DIR" in refused.stderr and refused.stderr.count("\n") == 1
    assert told.returncode == 0 and (tmp_path / "again" / "report.html").exists(), told.stderr


STEPS = Path(__file__).with_name("steps.js").read_text()


@pytest.mark.skipif(BROWSER is None, reason="no browser (Debian: chromium)")
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_a_browser_clicks_through(job_file: Path, tmp_path: Path, width: int) -> None:
    job = config.load_job(job_file, ["records=28", "unit_size=4", "samples_per_shard=28", "image_size=64"])
    small.make(job, rejected=(3, 5), two=(1,))
    rows = [row for row in open_data(job.output).rows.to_pylist() if row["size"]]
    probe = tmp_path / "probe.html"
    probe.write_text(page(job).replace("filter();\n</script>", f"filter();\n{STEPS}</script>"))
    switches = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --dump-dom"
    command = [BROWSER, *switches.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    command += ["--virtual-time-budget=20000", probe.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    (title,) = re.findall(r"<title>(\{.*?\})</title>", result.stdout)
    told = json.loads(title.replace("&amp;", "&"))
    assert told.pop("images") == [64, 64, 64, 64, 320]
    yaw = told["turn"].pop(1)
    assert told == {
        "first": "20 1–20 of 26", "next": "6 21–26 of 26", "rejected": "2 render: too small",
        "action": sum(row["prompt"].endswith("diving") for row in rows),
        "score": sum(row["oks"] >= 0.75 for row in rows), "most": sum(row["oks"] < 0.75 for row in rows),
        "order": True, "search": "1 small-00000007", "hover": True, "column": True, "open": "true 6 true", "look": True,
        "turn": [True, told["turn"][1]], "turned": [True, True], "keys": True, "after": "1 false", "up": True,
        "close": False, "nothing": "0 Show all records", "everything": 20,
    }  # fmt: skip
    assert abs(yaw + 2) < 0.01  # 240 px to the right: the body turns
