"""Left and right exchanged, by joint order. The mirror image of a person has these joints."""

from __future__ import annotations

# SMPL's 24 joints.
FLIP24 = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22)
# SPIN-49: OpenPose-25, then SPIN's 24 ground-truth joints.
FLIP49 = (
    *(0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21),
    *(25 + i for i in (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18, 19, 21, 20, 23, 22)),
)
