"""One scene by seed: dressed people in an action, with props, before a background; rendered with its ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from factory.geometry.body import BodyModel
from factory.geometry.depth import inverse_depth
from factory.geometry.rasteriser import interpolate, rasterise
from factory.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from factory.starter.world.actions import ACTIONS, Action, sample_pose
from factory.starter.world.backgrounds import paint
from factory.starter.world.look import Look, Viewpoint
from factory.starter.world.pose import to_smpl
from factory.starter.world.props import Prop, Setting, build_prop, occluder
from factory.starter.world.wardrobe import Wardrobe
from factory.weights.locate import resolve

SIZE = 128  # px: the side of images for which a view's lengths are meant
LATENT = 32  # px of the latent grid
MAX_PEOPLE = 3
FIRST_OBJECT = 10  # instance ids: 0 is the background, people count from 1, objects from here
# Height of the body's lowest point over the ground, metres (lowest, highest), by what carries the body.
SUPPORT = {
    "ground": (0, 0),
    "seat": (0, 0),
    "saddle": (0.3, 0.4),
    "air": (0.5, 1.2),
    "over_bar": (0.5, 0.9),
    "hands_on": (0.85, 1.0),
    "beam": (0.5, 0.8),
    "hands_hang": (0.25, 0.7),
}

DESCRIPTIONS = (
    "a photo of",
    "a nice photo of",
    "a high resolution photo of",
    "a pretty picture of",
    "an eye level shot of",
    "a full body photo of",
    "a full body shot of",
    "a full shot of",
    "a pretty photo of",
)
# Subject of the prompt -> kind of body, see `_shape`; "woman" and "old" also say something of the hair.
SUBJECTS = {
    "a person": "any",
    "an athlete": "any",
    "a woman": "woman",
    "a man": "man",
    "a child": "child",
    "an old person": "old",
    "a teenager": "teenager",
    "a young person": "any",
    "women": "woman",
    "men": "man",
    "children": "child",
    "several people": "any",
    "multiple people": "any",
    "some people": "any",
    "a group of people": "any",
}
PLURAL = ("women", "men", "children", "several people", "multiple people", "some people", "a group of people")


@dataclass
class Scene:
    """A rendered scene of P people. Camera frame: OpenCV axes, metres. The side r is the look's `view.size`.

    image (r, r, 3) uint8; instances (r, r) uint8: the id visible in each pixel; pose (P, 72) axis-angle; betas
    (P, 10); transl (P, 3) m; K (3, 3) px; depth (r, r) float32 m of people, 0 where another thing is visible.
    objects: the label of each prop; the first has the id FIRST_OBJECT.
    """

    image: np.ndarray
    prompt: str
    action: str
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    K: np.ndarray
    instances: np.ndarray
    objects: list[str]
    depth: np.ndarray

    @property
    def latent_depth(self) -> np.ndarray:
        """(32, 32) float32 in [-1, 1]: the control image of the depth-to-image model; all -1 where no person is."""
        if not self.depth.any():
            return np.full((LATENT, LATENT), -1, np.float32)
        return inverse_depth(self.depth, LATENT, LATENT)


class World:
    """Draws scenes. The same seed gives the same bytes on the same machine."""

    def __init__(
        self, body_path: str = "starter:body", look: Look | None = None, actions: Mapping[str, Action] = ACTIONS
    ) -> None:
        """look: how it looks; None: as the world that the starter pack was trained on. actions: what people do."""
        path = resolve(body_path)
        self.body, self.look, self.actions = BodyModel(path), look or Look(), actions
        with np.load(path) as stored:
            rest = stored["v_template"].astype(np.float32)
            self.wardrobe = Wardrobe(stored["part_labels"], stored["part_names"].tolist(), rest, self.look.outfit)

    @cached_property
    def _faces(self) -> np.ndarray:
        return self.body.faces.numpy()

    def sample(self, seed: int, action: str | None = None) -> Scene:
        """The scene of a seed. action: a key of the world's actions; None draws one."""
        rng, look = np.random.default_rng(seed), self.look
        name = action or str(rng.choice(list(self.actions)))
        act = self.actions[name]
        singular = look.subjects or tuple(s for s in SUBJECTS if s not in PLURAL)
        subject = str(rng.choice(singular if rng.random() < look.alone else PLURAL))
        prompt = f"{rng.choice(DESCRIPTIONS)} {subject} doing {name}"
        count = int(rng.integers(2, MAX_PEOPLE + 1)) if subject in PLURAL else 1
        betas = np.stack([_shape(SUBJECTS[subject], rng) for _ in range(count)])
        facing, spread = look.view.facing
        yaw = rng.normal(0, spread) if rng.random() < facing else rng.uniform(-180, 180)
        pose = np.stack([to_smpl(sample_pose(act, rng), yaw + rng.normal(0, 25 if i else 0)) for i in range(count)])
        vertices, joints = self._pose(pose, betas)
        rest_pelvis = joints[:, 0].copy()
        shift = self._stand(vertices, act.support, rng)
        vertices, joints = vertices + shift[:, None], joints + shift[:, None]

        front = np.array([np.sin(np.radians(yaw)), 0, np.cos(np.radians(yaw))])
        settings = [Setting(joints[i], vertices[i], front, rng) for i in range(count)]
        props = [build_prop(p, setting) for p in act.props if rng.random() < 0.85 for setting in settings]
        rotation, eye, K = _camera(vertices, look.view, rng)
        if rng.random() < look.hidden:
            towards = (eye - joints[0, 0]) * [1, 0, 1]
            props.append(occluder(settings[0], towards / np.linalg.norm(towards)))
        dressed = [
            self.wardrobe.dress(rng, SUBJECTS[subject] == "woman" or rng.random() < 0.25, SUBJECTS[subject] == "old")
            for _ in range(count)
        ]
        image, instances, depth = self._render(vertices, dressed, props, act.background, rotation, eye, K, rng)

        root = torch.from_numpy(rotation) @ axis_angle_to_matrix(torch.from_numpy(pose[:, 0]))
        pose[:, 0] = matrix_to_axis_angle(root).numpy()
        transl = (rest_pelvis + shift - eye) @ rotation.T - rest_pelvis
        return Scene(
            image,
            prompt,
            name,
            pose.reshape(count, 72).astype(np.float32),
            betas.astype(np.float32),
            transl.astype(np.float32),
            K.astype(np.float32),
            instances,
            [p.label for p in props],
            depth,
        )

    def _pose(self, pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """pose (P, 24, 3), betas (P, 10) -> vertices (P, V, 3), joints (P, J, 3) m, world axes, not yet moved."""
        full = torch.from_numpy(pose.reshape(len(pose), 72)).float()
        with torch.no_grad():
            vertices, joints = self.body(
                full[:, :3], full[:, 3:], torch.from_numpy(betas).float(), torch.zeros(len(pose), 3)
            )
        return vertices.numpy().astype(float), joints.numpy().astype(float)

    @staticmethod
    def _stand(vertices: np.ndarray, support: str, rng: np.random.Generator) -> np.ndarray:
        """(P, 3) m: the shift that sets each body on its support, the first at the origin, the others beside it."""
        lift = rng.uniform(*SUPPORT[support])
        shift = np.zeros((len(vertices), 3))
        side = rng.choice([-1, 1])
        for i, body in enumerate(vertices):
            shift[i] = -(body.min(0) + body.max(0)) / 2
            shift[i, 1] = lift - body[:, 1].min()
            if i:
                shift[i, 0] += side * rng.uniform(0.55, 1.0) * (1 if i == 1 else -1)
                shift[i, 2] += rng.normal(0, 0.4)
        return shift

    def _render(
        self,
        vertices: np.ndarray,
        dressed: list[np.ndarray],
        props: list[Prop],
        background: str,
        rotation: np.ndarray,
        eye: np.ndarray,
        K: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image (r, r, 3) uint8, instances (r, r) uint8, depth of visible people (r, r) float32 m.

        vertices (P, V, 3) m, world frame; dressed: (V, 3) colours of each; rotation, eye and K: the camera.
        """
        light, side, fine = self.look.light, self.look.view.size, self.look.view.supersampling
        size = side * fine
        big = torch.from_numpy(np.diag([fine, fine, 1.0]) @ K).float()
        sun = _unit(
            np.array([rng.normal(0, light.sideways), rng.uniform(*light.height), 0])
            + light.behind * _unit(eye * [1, 0, 1])
        )
        parts = [(v, self._faces, c, 1 + i) for i, (v, c) in enumerate(zip(vertices, dressed, strict=True))]
        parts += [
            (p.vertices, p.faces, np.tile(p.colour, (len(p.vertices), 1)), FIRST_OBJECT + j)
            for j, p in enumerate(props)
        ]
        start = np.cumsum([0] + [len(p[0]) for p in parts])
        points = np.concatenate([p[0] for p in parts])
        faces = torch.from_numpy(np.concatenate([p[1] + s for p, s in zip(parts, start, strict=False)])).long()
        ids = np.concatenate([np.full(len(p[1]), p[3], np.uint8) for p in parts])
        colour = np.concatenate([p[2] for p in parts])
        seen = torch.from_numpy((points - eye) @ rotation.T).float()
        drawn = rasterise(seen[None], faces, big, size, size)
        face = drawn.face[0]
        hit = (face >= 0).numpy()

        v, u = np.mgrid[:size, :size].astype(np.float32) + 0.5
        rays = np.stack([u, v, np.ones_like(u)], -1) @ (np.linalg.inv(big.numpy()).T @ rotation).astype(np.float32)
        image, floor = paint(self.look.backgrounds[background], rays, eye.astype(np.float32), rng)
        shadow_points = points - sun * (points[:, 1:2] / sun[1])
        ground = torch.from_numpy((shadow_points - eye) @ rotation.T).float()
        low = torch.from_numpy(K).float().expand(2, 3, 3)
        plain = rasterise(
            torch.stack([seen, ground]), faces, low, side, side
        )  # the ground truth at pixel centres, and the shadow
        shade = (plain.face[1] >= 0).numpy()
        shade = shade.repeat(fine, 0).repeat(fine, 1)
        image = image * np.where(floor & shade, light.shadow, 1.0)[..., None]

        normals = _normals(points, faces.numpy())
        attributes = torch.from_numpy(np.concatenate([colour, normals], 1)).float()
        pixel = interpolate(face, seen, faces, big, attributes).numpy()
        normal = pixel[..., 3:] / np.maximum(np.linalg.norm(pixel[..., 3:], axis=-1, keepdims=True), 1e-6)
        lit = light.everywhere + light.above * normal[..., 1] + light.sun * np.clip(normal @ sun, 0, None)
        image = np.where(hit[..., None], pixel[..., :3] * lit[..., None], image) * np.array(light.colour)
        image = _shrink(np.clip(image, 0, 1), fine)
        if light.noise:
            image = np.clip(image + rng.normal(0, light.noise, image.shape), 0, 1)
        image = image * 255 + 0.5
        instances = np.where(plain.face[0] >= 0, ids[plain.face[0].numpy()], 0).astype(np.uint8)
        people = (instances > 0) & (instances < FIRST_OBJECT)
        return image.astype(np.uint8), instances, np.where(people, plain.depth[0].numpy(), 0).astype(np.float32)


def _shape(kind: str, rng: np.random.Generator) -> np.ndarray:
    """(10,) betas of a kind of body. Component 0 is size, 1 is build (positive: narrower chest, wider hips)."""
    betas = rng.normal(0, 0.6, 10)
    if kind == "child":
        betas[0] = rng.uniform(-4.2, -3.0)
    elif kind == "teenager":
        betas[0] = rng.uniform(-2.2, -1.0)
    elif kind in ("woman", "man"):
        sign = 1 if kind == "woman" else -1
        betas[1] = sign * rng.uniform(0.5, 2.0)
        betas[0] = -sign * rng.uniform(0.0, 1.2)
    return betas


def _camera(
    vertices: np.ndarray, view: Viewpoint, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World -> camera rotation (3, 3), eye (3,) m, K (3, 3) px of a camera whose image the people nearly fill."""
    elevation, roll = np.radians(rng.uniform(*view.elevation)), np.radians(rng.normal(0, view.roll))
    back = np.array(
        [0, np.sin(elevation), np.cos(elevation)]
    )  # from the people to the eye; the view from other sides comes from their yaw
    right = _unit(np.cross([0, 1, 0], back))
    up = np.cross(back, right)
    spin = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rotation = spin @ np.stack([right, -up, -back])
    points = vertices.reshape(-1, 3)
    flat = points @ rotation.T
    low, high = flat.min(0), flat.max(0)
    extent = max(high[0] - low[0], high[1] - low[1])
    focal = rng.uniform(*view.focal)
    distance = max(focal * extent / (rng.uniform(*view.fill) * SIZE), extent + 1.5)
    target = rotation.T @ ((low + high) / 2)
    eye = target + distance * back
    eye[1] = max(eye[1], view.lowest)
    shift = rng.normal(0, view.shift, 2)
    K = np.array([[focal, 0, SIZE / 2 + shift[0]], [0, focal, SIZE / 2 + shift[1]], [0, 0, 1]])
    return rotation, eye, np.diag([view.size / SIZE, view.size / SIZE, 1]) @ K


def _normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals of the vertices, weighted by the area of their faces."""
    triangles = points[faces]
    flat = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals = np.stack([np.bincount(faces.ravel(), np.repeat(flat[:, k], 3), len(points)) for k in range(3)], -1)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def _shrink(image: np.ndarray, s: int) -> np.ndarray:
    """(H, W, C) -> the mean of each block of s px squared."""
    return image.reshape(image.shape[0] // s, s, image.shape[1] // s, s, -1).mean((1, 3))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
