"""A bank of several people, splits and methods: what a choice of rows is tried on."""

from pathlib import Path

import numpy as np

from tests.workers.training.make_bank import make_face, make_head, make_landmarks
from workers.training.bank import BANK_SIDE_PX, FaceBank, write_bank

GROUPS, LOOKS, STILLS = 6, 3, 4


def make_split_bank(
    folder: Path, *, methods: tuple[str, str] = ("late", "early"), stills: int = STILLS
) -> FaceBank:
    """
    Write a real clip of each group, a fake one made from it, and lone stills.

    Groups take turns in the splits train, train, val, test; the fakes' methods alternate, and they
    are inverted in the lower middle of the face.
    """
    faces, landmarks, rows = [], [], []
    patch = np.zeros((BANK_SIDE_PX, BANK_SIDE_PX), np.uint8)
    patch[150:230, 110:210] = 255
    for group in range(GROUPS):
        first = len(rows)
        for label in ("real", "fake"):
            for look in range(LOOKS):
                seed = 100 * group + look
                picture = make_head(seed).copy()
                if label == "fake":
                    picture[patch > 0] = 255 - picture[patch > 0]
                faces.append(picture)
                landmarks.append(make_landmarks(seed))
                made = {"method": methods[group % 2], "pair": first + look}
                rows.append(
                    make_face(
                        len(rows),
                        label=label,
                        group=f"g{group}",
                        path=f"{label}{group}.mp4",
                        dataset=f"d{group % 2}",
                        split=("train", "train", "val", "test")[group % 4],
                        frame_index=10 * look,
                        **(made | {"has_mask": True} if label == "fake" else {}),
                    )
                )
    for still in range(stills):
        faces.append(make_head(10_000 + still))
        landmarks.append(make_landmarks(10_000 + still))
        rows.append(
            make_face(
                len(rows),
                group=f"s{still}",
                path=f"still{still}.jpg",
                kind="picture",
                dataset="stills",
            )
        )
    masks = [patch if row.has_mask else np.zeros_like(patch) for row in rows]
    return write_bank(
        folder,
        faces=np.stack(faces),
        landmarks=np.stack(landmarks),
        masks=np.stack(masks),
        rows=rows,
        manifest_sha256="0" * 64,
    )
