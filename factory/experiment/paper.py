"""The figures of the paper's Tables 1 to 4 (Weng, Bravo-Sánchez, Yeung: Diffusion-HPC, arXiv 2303.09541v2), as data.

A column is named after its figure and, where there are several, what it is of, such as `PCK/diving` or `MPJPE/0.05`.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "Weng et al., Diffusion-HPC, arXiv 2303.09541v2, Table {}"
PAPER_ACTIONS = (
    "diving",
    "pole vault",
    "high jump",
    "gymnastics on uneven bars",
    "gymnastics on a balance beam",
    "vault",
)
PaperFigures = dict[str, float]


@dataclass(frozen=True)
class PaperTable:
    """rows: name of a row -> column -> figure. note: what must be known to compare with it."""

    number: int
    rows: dict[str, PaperFigures]
    note: str

    @property
    def source(self) -> str:
        return SOURCE.format(self.number)


def _pck(*shares: float) -> PaperFigures:
    return {f"PCK/{name}": share for name, share in zip((*PAPER_ACTIONS, "all"), shares, strict=True)}


def _skiing(**pairs: tuple[float, float]) -> PaperFigures:
    """Pairs of MPJPE and PA-MPJPE by share in percent, as `of_5=(161.3, 103.6)`."""
    shares = {name: f"{int(name.removeprefix('of_')) / 100:g}" for name in pairs}
    return {
        f"{figure}/{shares[name]}": pair[i]
        for name, pair in pairs.items()
        for i, figure in enumerate(("MPJPE", "PA-MPJPE"))
    }


def _images(fid: float, h_fid: float, kid: float, h_kid: float, **more: float) -> PaperFigures:
    return {"FID": fid, "H-FID": h_fid, "KID": kid, "H-KID": h_kid, **more}


SMART = PaperTable(
    1,
    {
        "SPIN": _pck(63.1, 60.0, 73.3, 36.2, 74.2, 61.4, 50.4),
        "BEV": _pck(55.9, 52.5, 68.8, 12.9, 62.0, 38.9, 48.5),
        "PARE": _pck(63.3, 65.2, 77.9, 31.8, 71.2, 53.9, 60.5),
        "BEDLAM-CLIFF": _pck(30.4, 57.3, 67.4, 31.1, 55.7, 48.3, 48.4),
        "SPIN-ft": _pck(74.3, 73.5, 78.1, 41.9, 84.1, 64.3, 69.3),
        "DAPA": _pck(70.9, 64.8, 79.4, 42.0, 79.4, 64.5, 66.8),
        "ControlNet": _pck(70.6, 65.3, 74.2, 43.4, 83.6, 62.3, 66.6),
        "Diffusion-HPC": _pck(79.2, 77.7, 78.1, 44.1, 85.1, 66.9, 71.9),
    },
    "PCK in percent, at 22.4 px of a crop of 224 px",
)
SKI_POSE = PaperTable(
    2,
    {
        "SPIN": _skiing(of_0=(225.1, 120.2)),
        "BEV": _skiing(of_0=(313.5, 125.1)),
        "PARE": _skiing(of_0=(234.9, 113.6)),
        "ProHMR": _skiing(of_0=(122.7, 82.6)),
        "BEDLAM-CLIFF": _skiing(of_0=(363.5, 136.5)),
        "SPIN-ft": _skiing(of_1=(206.9, 115.6), of_5=(161.3, 103.6), of_50=(127.8, 91.7), of_100=(133.7, 92.3)),
        "DAPA": _skiing(of_1=(222.2, 123.6), of_5=(180.2, 108.7), of_50=(128.7, 90.5), of_100=(126.9, 86.1)),
        "ControlNet": _skiing(of_1=(194.6, 106.2), of_5=(144.1, 94.0), of_50=(118.2, 85.3), of_100=(114.2, 83.4)),
        "Diffusion-HPC": _skiing(of_1=(182.3, 105.9), of_5=(143.4, 90.7), of_50=(116.5, 83.5), of_100=(111.3, 81.5)),
    },
    "MPJPE and PA-MPJPE in mm; ProHMR sees the true 2D keypoints of the test images",
)
TEXT = {
    "mpii": PaperTable(
        3,
        {
            "Stable Diffusion": _images(75.6, 70.5, 0.03, 0.11, preference=0.45),
            "Diffusion-HPC": _images(75.6, 68.1, 0.03, 0.04, preference=0.55),
        },
        "some 10,000 images, prompts of MPII",
    ),
    "smart": PaperTable(
        3,
        {
            "Stable Diffusion": _images(66.3, 91.4, 0.04, 0.07, preference=0.23),
            "Diffusion-HPC": _images(67.7, 89.5, 0.03, 0.06, preference=0.77),
        },
        "some 10,000 images, prompts of SMART",
    ),
}
# T: a text, R: a real image, D: diffusion models fine-tuned on the domain. The poses are given.
POSE = {
    "mpii": PaperTable(
        4,
        {
            "Brooks et al.": _images(109.0, 75.5, 0.10, 0.07),
            "R": _images(95.6, 59.3, 0.07, 0.05),
            "T": _images(54.6, 41.3, 0.03, 0.03),
            "T+R": _images(44.6, 41.5, 0.02, 0.03),
            "R+D": _images(95.3, 58.1, 0.07, 0.04),
            "T+D": _images(72.8, 136.2, 0.03, 0.11),
            "T+R+D": _images(42.6, 38.6, 0.02, 0.02),
        },
        "poses of MPII; Brooks et al. learnt from pairs of keypoints and images",
    ),
    "smart": PaperTable(
        4,
        {
            "Brooks et al.": _images(175.8, 114.1, 0.14, 0.06),
            "R": _images(85.9, 121.5, 0.06, 0.07),
            "T": _images(162.3, 113.9, 0.13, 0.08),
            "T+R": _images(94.8, 99.8, 0.06, 0.05),
            "R+D": _images(85.5, 122.2, 0.06, 0.07),
            "T+D": _images(145.9, 131.5, 0.10, 0.07),
            "T+R+D": _images(92.4, 44.5, 0.06, 0.03),
        },
        "poses of SMART; Brooks et al. learnt from pairs of keypoints and images",
    ),
}


def paper_table(number: int, part: str | None) -> PaperTable:
    """The table with this number; part: mpii or smart, of Tables 3 and 4."""
    if number in (1, 2):
        return SMART if number == 1 else SKI_POSE
    return (TEXT if number == 3 else POSE)[part or "smart"]
