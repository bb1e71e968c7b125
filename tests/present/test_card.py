"""The folder as it is: uploaded or copied, every reader finds the same samples in it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import factory
from factory.job import JobSpec
from factory.metrics import METRICS
from factory.present import card
from factory.store.dataset import open_data
from factory.store.layout import CARD, PREVIEW, SHARD_LIST
from factory.store.reopen import retry
from factory.store.verify import repair, verify
from tests.support import small


def spec(values: dict, **changes) -> JobSpec:
    values = {**values, "records": 12, "image_size": 64, "unit_size": 2, "samples_per_shard": 4, **changes}
    return JobSpec.model_validate(values)


@pytest.fixture
def job(values: dict) -> JobSpec:
    """Three shards; all records of the first one were rejected."""
    job = spec(values)
    small.make(job, rejected=(0, 1, 2, 3, 6), two=(5,))
    assert card.write_card(open_data(job.output))
    return job


def files(job: JobSpec) -> dict[str, bytes]:
    return {name: Path(job.output, name).read_bytes() for name in (CARD, PREVIEW, SHARD_LIST)}


def front(job: JobSpec) -> dict:
    return yaml.safe_load(files(job)[CARD].decode().split("---\n")[1])


def test_every_reader_finds_the_same_samples_in_the_folder(job, tmp_path, monkeypatch):
    """The first shard has no tar: an empty one stops Hugging Face's loader."""
    datasets = pytest.importorskip("datasets", reason="the extra 'test' is not installed")
    import webdataset
    from torch.utils.data import DataLoader

    keys = [row["key"] for row in open_data(job.output).rows.to_pylist() if row["size"]]
    assert len(keys) == 7 and not Path(job.output, "small-000000.tar").exists()
    folder = shutil.copytree(job.output, tmp_path / "copied")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert list(loaded["__key__"]) == keys and loaded[0]["jpg"].size == (64, 64)
    tars = [str(path) for path in sorted(folder.glob("*.tar"))]
    named = datasets.load_dataset("webdataset", data_files=tars, split="train", cache_dir=str(tmp_path / "cache"))
    assert list(named["__key__"]) == keys and named[0]["json"]["oks"] == loaded[0]["json"]["oks"] > 0
    listed = [str(folder / shard["url"]) for shard in json.loads(files(job)[SHARD_LIST])["shardlist"]]
    assert [s["__key__"] for s in webdataset.WebDataset(listed, shardshuffle=False)] == keys
    people = factory.load(folder, crop=32, train=False)
    seen = [key for batch in DataLoader(people, batch_size=4, num_workers=2) for key in batch.key]
    assert sorted(set(seen)) == keys and len(seen) == 8


def test_verify_is_not_disturbed(job):
    report = verify(job.output)
    assert report.ok and report.complete and report.samples == 7


def test_the_shard_index_tells_the_truth(job):
    told = json.loads(files(job)[SHARD_LIST])
    assert told["__kind__"] == "wids-shard-index-v1"
    assert [(shard["url"], shard["nsamples"]) for shard in told["shardlist"]] == [
        ("small-000001.tar", 3), ("small-000002.tar", 4),
    ]  # fmt: skip
    for shard in told["shardlist"]:
        data = Path(job.output, shard["url"]).read_bytes()
        assert (shard["filesize"], shard["md5sum"]) == (len(data), hashlib.md5(data).hexdigest())


def test_counts_and_front_matter(job):
    text = files(job)[CARD].decode()
    assert front(job)["license"] == "apache-2.0" and front(job)["size_categories"] == ["n<1K"]
    for row in ("planned | 12", "ok | 7", "rejected | 5", "too small | 2", "no person | 3"):
        assert f"| {row} |" in text
    assert "7 images of 8 people" in text and "![" in text
    assert all(f"| `{name}` |" in text for name in METRICS) and "None" not in text
    picture = np.asarray(Image.open(io.BytesIO(files(job)[PREVIEW])))
    assert picture.std() > 10 and picture.shape[1] > 1000


def test_the_same_data_set_has_the_same_card(job, values, tmp_path):
    again = spec(values, output=str(tmp_path / "again"))
    small.make(again, rejected=(0, 1, 2, 3, 6), two=(5,))
    assert card.write_card(open_data(again.output)) and files(again) == files(job)


def test_an_edited_card_is_left_alone_and_an_unfinished_data_set_has_none(job, values, tmp_path):
    assert not card.write_card(open_data(job.output))
    mine = files(job)[CARD].decode().replace("# small", "# My data set")
    Path(job.output, CARD).write_text(mine)
    assert not card.write_card(open_data(job.output)) and files(job)[CARD].decode() == mine and verify(job.output).ok
    half = spec(values, output=str(tmp_path / "half"))
    small.make(half, units=3)
    assert not card.write_card(open_data(half.output)) and not Path(half.output, CARD).exists()


def test_licences_of_real_weights(values):
    values["stages"]["generate"]["model"] = "CompVis/stable-diffusion-v1-4"
    values["body"]["model"] = "/nowhere/SMPL_NEUTRAL.npz"
    values["prompts"]["action"] = ["a | b <c>"]
    job = spec(values, records=2)
    small.make(job, rejected=())
    assert card.write_card(open_data(job.output))
    text = files(job)[CARD].decode()
    assert front(job)["license"] == "other" and front(job)["license_name"]
    assert re.search(r"generate \| `CompVis/stable-diffusion-v1-4` \| CreativeML OpenRAIL-M", text)
    assert "SMPL_NEUTRAL.npz` | non-commercial" in text and "a \\| b &lt;c&gt;" in text


def test_nothing_but_rejected_records(values):
    job = spec(values, records=4)
    small.make(job, rejected=range(4))
    assert card.write_card(open_data(job.output)) and verify(job.output).ok
    assert "![" not in Path(job.output, CARD).read_text() and not Path(job.output, PREVIEW).exists()


def retried(job: JobSpec) -> None:
    """A record that had failed is made after all: its shard holds a sample more."""
    small.make(job, failed=(9,))
    assert card.write_card(open_data(job.output))
    assert retry(job.output).records == 1
    told = verify(job.output)
    assert told.ok and any("wids.json: tells another size" in note for note in told.notes)
    assert any("README.md: tells of the shards as they were" in note for note in told.notes)
    small.make(job)


@pytest.mark.parametrize("edited", [False, True])
def test_after_a_retry_card_and_shard_list_are_written_anew(values, tmp_path, edited):
    job = spec(values)
    retried(job)
    assert [problem.partition(":")[0] for problem in verify(job.output).problems] == [SHARD_LIST, CARD]
    if edited:
        Path(job.output, CARD).write_text("mine")
    assert card.write_card(open_data(job.output))
    fresh = spec(values, output=str(tmp_path / "fresh"))
    small.make(fresh)
    card.write_card(open_data(fresh.output))
    expected = files(fresh) if not edited else {**files(fresh), CARD: b"mine", PREVIEW: files(job)[PREVIEW]}
    assert files(job) == expected and verify(job.output).ok and not card.write_card(open_data(job.output))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"nsamples": 3', '"nsamples": 4'), ('"md5sum": "', '"md5sum": "0'), ('"filesize": ', '"filesize": 1'),
     ("small-000002.tar", "small-000001.tar"), ("{", "[")],
)  # fmt: skip
def test_verify_sees_a_shard_list_that_lies_and_repair_takes_it_away(job, old, new):
    path = Path(job.output, SHARD_LIST)
    told = path.read_text()
    assert old in told
    path.write_text(told.replace(old, new, 1))
    assert verify(job.output).stale == [SHARD_LIST]
    assert repair(job.output).stale == [SHARD_LIST] and verify(job.output).ok
    assert card.write_card(open_data(job.output)) and path.read_text() == told


def test_a_card_of_other_shards_is_noticed(job, values, tmp_path):
    other = spec(values, output=str(tmp_path / "other"), seed=3)
    small.make(other)
    card.write_card(open_data(other.output))
    shutil.copy(Path(other.output, CARD), Path(job.output, CARD))
    assert verify(job.output).problems == ["README.md: tells of the shards as they were before"]
    assert card.write_card(open_data(job.output)) and verify(job.output).ok


def test_nothing_in_a_prompt_or_a_name_becomes_markup(values):
    """As CommonMark, with tables, renders it."""
    from markdown_it import MarkdownIt

    hostile = ["<script>alert(1)</script>", "![x](http://a/b.png)", "[here](javascript:alert(2))", "*a* _b_ `c` | d \\"]
    values["prompts"]["action"] = hostile
    values["body"]["name"] = "`</code><img src=x onerror=alert(3)> | b"
    values["stages"]["generate"]["model"] = "own/`<b>x</b>"
    job = spec(values, records=16)
    small.make(job, rejected=())
    assert card.write_card(open_data(job.output))
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(files(job)[CARD].decode())
    assert re.findall(r"<(script|b|em)>", page) == [] and re.findall(r'<img src="?([^ "]*)', page) == ["preview.jpg"]
    assert set(re.findall(r'href="([^"]*)"', page)) == {"https://arxiv.org/abs/2303.09541"}
    cells = re.findall(r"<td>([^<]*)</td>\n<td>\d+</td>", page.split("poses per action")[1])
    for words in (*hostile[1:3], "&lt;script&gt;alert(1)&lt;/script&gt;", "*a* _b_ 'c' | d \\"):
        assert any(words in cell for cell in cells)
