"""Which results of an estimator have body parameters, and no mesh any more: said in one sentence.

A mesh file is written a segment at a time. What lay in the open one when its writer was killed was never on
the disk; the body parameters, which are written at once, tell of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from capture._verify_ledger import told_ranges

Numbers = npt.NDArray[np.int64]
NO_NUMBERS: Numbers = np.zeros(0, np.int64)


def tell_missing_meshes(name: str, results: Sequence[Numbers], meshes: Sequence[Numbers]) -> list[str]:
    """The sentence, or none. results, meshes: frame numbers, in any order."""
    of_results = np.unique(np.concatenate([NO_NUMBERS, *results]))
    missing = np.setdiff1d(of_results, np.concatenate([NO_NUMBERS, *meshes]))
    if not missing.size:
        return []
    # By their place among the results: an estimator does not look at every frame.
    places = np.searchsorted(of_results, missing)
    breaks = np.flatnonzero(np.diff(places) > 1) + 1
    spans = [(int(run[0]), int(run[-1])) for run in np.split(missing, breaks)]
    return [f"{name}: the meshes of {missing.size} results are missing: frames {told_ranges(spans)}"]
