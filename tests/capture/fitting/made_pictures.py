"""Pictures of nothing with the key points of our own walker: files of every layout that a fit reads."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from tests.capture.body.walking_people import observed, person, seen_from

SIZE = (640, 480)
FOCAL_PX = 600.0
CPM_OF_LSP = [13, 12, 11, 8, 9, 10, 7, 6, 5, 2, 3, 4, 1, 0]


def lsp_points(rows: int) -> np.ndarray:
    """(rows, 14, 3): x, y, confidence 1 of a walker who faces the camera, as it sees him."""
    rng = np.random.default_rng(4)
    seen = [observed(person(7 * k, heading=0.3), seen_from(1), rng)[0] for k in range(rows)]
    return np.array([np.column_stack([each.points_px, each.confidences]) for each in seen])


def in_cpm_order(points: np.ndarray) -> np.ndarray:
    """(14, n) LSP -> CPM."""
    out = np.empty_like(points)
    out[CPM_OF_LSP] = points
    return out


def write_est_joints(path: Path, points: np.ndarray, *, rows: int = 5) -> Path:
    """SMPLify's layout: (rows, 14, pictures), of which three mean something here."""
    array = np.zeros((rows, 14, len(points)))
    array[:3] = points.transpose(2, 1, 0)[:3]
    np.savez(path, est_joints=array)
    return path


def write_pictures(folder: Path, count: int, *, first: int = 1, suffix: str = ".jpg") -> Path:
    folder.mkdir()
    for k in range(count):
        picture = np.full((SIZE[1], SIZE[0], 3), 120 + k, np.uint8)
        cv2.imwrite(str(folder / f"im{first + k:04d}{suffix}"), picture)
    return folder


def jpeg_with_exif(focal_on_film_mm: int, *, order: str = "<") -> bytes:
    """A picture of SIZE whose EXIF data say this focal length."""
    picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    name = {"<": b"II", ">": b"MM"}[order]
    exif = name + struct.pack(order + "HI", 42, 8)
    exif += struct.pack(order + "HHHIII", 1, 0x8769, 4, 1, 26, 0)
    exif += struct.pack(order + "HHHIHHI", 1, 0xA405, 3, 1, focal_on_film_mm, 0, 0)
    segment = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
