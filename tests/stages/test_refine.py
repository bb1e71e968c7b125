import numpy as np
import pytest

from factory.errors import UserError
from factory.job import ImagesSpec
from factory.record import Unit
from factory.stages.refine import Refine, human_region
from tests.support.records import SIZE, rendered


def run(spec, *records):
    return Refine(spec)(Unit(0, 0, list(records))).records


def test_every_record_is_redrawn(job):
    for done in run(job(), rendered(0), rendered(1)):
        assert (done.active, done.refined) == (True, True)
        assert done.final.shape == (SIZE, SIZE, 3) and done.final.dtype == np.uint8
        assert not np.array_equal(done.final, done.initial)


def test_easy_records_that_are_kept_keep_their_image(job):
    """The batch mixes both kinds: each must get its own picture."""
    spec = job(estimate={"easy": "keep"})
    done = run(spec, *(rendered(i, kept=kept) for i, kept in enumerate([False, True, True, False])))
    assert [r.refined for r in done] == [True, False, False, True]
    assert all(r.active for r in done)
    assert np.array_equal(done[1].final, done[1].initial) and np.array_equal(done[2].final, done[2].initial)
    alone = run(spec, rendered(3))[0]
    assert np.abs(alone.final.astype(int) - done[3].final).max() <= 1


@pytest.mark.parametrize("easy", ["drop", "refine"])
def test_otherwise_easy_ones_that_get_here_are_redrawn(job, easy):
    assert run(job(estimate={"easy": easy}), rendered(metrics={"pose_score": 0.0}))[0].refined


def test_an_empty_depth_fails_one_record_only(job):
    done = run(job(), rendered(0), rendered(1, depth=np.zeros((SIZE, SIZE), np.float32)))
    assert [r.state for r in done] == ["pending", "failed"]
    assert done[1].error == "ValueError: empty depth map" and done[1].final is None


def test_human_region():
    r = rendered(person_mask=np.eye(SIZE, dtype=bool))
    region = human_region(r)
    assert not region[:24].any()  # behind the object
    assert region[30, 30] and region[60, 60] and not region[60, 30]


def test_human_region_is_drawn_from_noise_when_asked(job):
    plain, noisy = (run(job(refine={"random_latents": on}), rendered())[0].final for on in (False, True))
    assert not np.array_equal(plain, noisy)


def test_a_strength_of_no_step_is_refused(job):
    with pytest.raises(UserError, match="is no step"):
        Refine(job(refine={"steps": 5, "strength": 0.1})).setup()


def test_the_prompt_of_a_real_image_is_stored_as_far_as_it_was_read(job):
    spec = job().model_copy(update={"images": ImagesSpec(path="pictures")})
    long, short = rendered(0), rendered(1)
    long.prompt, short.prompt = "a person who goes on and on " * 5, "a man"
    whole = long.prompt
    done = run(spec, long, short)
    assert whole.startswith(done[0].prompt) and len(done[0].prompt) < 40 and done[1].prompt == "a man"
