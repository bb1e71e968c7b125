"""The layout of SPIN's published network."""

from __future__ import annotations


def spin_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of SPIN's published network, written down from its layout and not from this code."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})

    norm("bn1", 64)
    inner = 64
    for layer, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, inner, 1, 1)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            shapes[f"{name}.conv3.weight"] = (4 * width, width, 1, 1)
            for i, out in enumerate((width, width, 4 * width), 1):
                norm(f"{name}.bn{i}", out)
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * width, inner, 1, 1)
                norm(f"{name}.downsample.1", 4 * width)
            inner = 4 * width
    for name, rows, columns in [
        ("fc1", 1024, 2205),
        ("fc2", 1024, 1024),
        ("decpose", 144, 1024),
        ("decshape", 10, 1024),
        ("deccam", 3, 1024),
    ]:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)
    return {**shapes, "init_pose": (1, 144), "init_shape": (1, 10), "init_cam": (1, 3)}
