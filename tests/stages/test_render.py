import numpy as np
import pytest

from factory.errors import UserError
from factory.record import Unit
from factory.stages.render import Render
from tests.support.records import SIZE, person, record


def run(spec, *records):
    return Render(spec)(Unit(0, 0, list(records))).records


def test_depth_of_a_body_in_the_middle(job):
    done = run(job(), record(people=[person()]))[0]
    assert done.active
    assert 0.02 < done.silhouette.mean() < 0.5 and done.silhouette[SIZE // 2, SIZE // 2]
    assert done.depth.dtype == np.float32 and done.depth.shape == (SIZE, SIZE)
    np.testing.assert_array_equal(done.depth > 0, done.silhouette)
    assert (np.abs(done.depth[done.silhouette] - 60) < 0.6).all()


def test_objects_are_cut_out_of_the_depth_but_not_of_the_silhouette(job):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[: SIZE // 2] = True
    whole, cut = run(job(), record(people=[person()]), record(people=[person()], object_mask=mask))
    np.testing.assert_array_equal(cut.silhouette, whole.silhouette)
    np.testing.assert_array_equal(cut.depth, np.where(mask, 0, whole.depth))
    assert cut.depth.any() and whole.depth[mask].any()


def test_the_nearer_body_hides_the_other(job):
    both, near = run(job(), record(people=[person(z=70), person(z=60)]), record(people=[person(z=60)]))
    overlap = near.depth > 0
    np.testing.assert_array_equal(both.depth[overlap], near.depth[overlap])
    assert both.silhouette.sum() >= near.silhouette.sum()


def test_each_record_gets_its_own_people(job):
    left, right = run(job(), record(people=[person(x=-0.5)]), record(people=[person(x=0.5)]))
    assert np.flatnonzero(left.silhouette.any(0)).mean() < SIZE / 2 < np.flatnonzero(right.silhouette.any(0)).mean()


def test_rejections_have_their_reasons(job):
    everything = np.ones((SIZE, SIZE), bool)
    cases = {
        "": record(people=[person()]),
        "empty depth": record(people=[person()], object_mask=everything),
        "too small": record(people=[person(z=2000)]),
        "out of frame": record(people=[person(x=1.5)]),
    }
    done = run(job(), *cases.values())
    assert [r.reason for r in done] == list(cases)
    assert [r.state for r in done] == ["pending", *["rejected"] * 3]
    assert run(job(), record(people=[person(z=-60)]))[0].reason == "out of frame"
    assert run(job(), record(people=[person(), person(x=1.5)]))[0].reason == "out of frame"  # each body counts


def test_limits_are_the_jobs(job):
    lenient = job(render={"min_coverage": 0.0, "min_inside": 0.0})
    done = run(lenient, record(people=[person(z=400)]), record(people=[person(x=1.0)]))
    assert all(r.active for r in done)
    assert run(job(render={"min_coverage": 0.5}), record(people=[person()]))[0].reason == "too small"


def test_pyrender_draws_the_same(job):
    people = [person(), person(x=0.3, z=61)]
    torch_depth = run(job(), record(people=people))[0]
    try:
        gl_depth = run(job(render={"rasteriser": "pyrender"}), record(people=people))[0]
    except UserError as error:
        pytest.skip(str(error))
    assert (gl_depth.silhouette != torch_depth.silhouette).sum() <= 2
    both = gl_depth.silhouette & torch_depth.silhouette
    assert np.median(np.abs(gl_depth.depth - torch_depth.depth)[both]) < 1e-3
