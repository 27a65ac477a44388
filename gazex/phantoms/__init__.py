"""Synthetic frontal chest radiographs with known findings and exact reference geometry. No torch."""

from gazex.phantoms.dicom import write_dicom
from gazex.phantoms.phantom import (
    CALIBRATION_SEED,
    TEST_SEED,
    TRAIN_SEED,
    VALIDATION_SEED,
    Phantom,
    PhantomFinding,
    make_phantom,
)
from gazex.phantoms.truth import write_truth

__all__ = [
    "CALIBRATION_SEED",
    "TEST_SEED",
    "TRAIN_SEED",
    "VALIDATION_SEED",
    "Phantom",
    "PhantomFinding",
    "make_phantom",
    "write_dicom",
    "write_truth",
]
