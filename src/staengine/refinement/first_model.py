"""First references without a reference: averages of the particles at random orientations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staengine.numerics.fourier import soft_sphere
from staengine.numerics.projector import array_shape
from staengine.refinement.expectation import Sums, accumulate
from staengine.refinement.maximisation import BackProjection
from staengine.refinement.pose_search import ParticleStep, Poses, Task
from staengine.refinement.sampling import OrientationGrid
from staengine.refinement.state import Refinement

MARGIN = 2  # shells beyond the first resolution that the averages hold


def random_averages(run: Refinement, noise: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """One map (box, box, box) for each class, up to the first resolution, of all particles turned at random.

    Each class has orientations of its own: the references begin as different as chance makes them.
    """
    data, rng = run.data, np.random.default_rng((run.options.random_seed, 0))
    radius = min(run.schedule.at(1).shell + MARGIN, data.box // 2)
    mask = soft_sphere(data.box, run.options.particle_diameter / (2 * data.pixel), run.options.maskedge)
    empty = np.zeros(array_shape(data.box, run.options.pad, radius), np.complex64)
    task = Task(
        data=data,
        transforms=[empty],
        padding=run.options.pad,
        n_components=data.components.count_within(radius),
        n_fit=1,
        n_coarse=1,
        noise=noise,
        scales=np.ones(len(data.group_names)),
        grid=OrientationGrid(run.sampling),
        class_priors=np.ones(1),
        sigma_angle=0.0,
        sigma_offset=1.0,
    )
    maps = []
    for _ in range(run.options.K):
        sums, turns = Sums.empty(task), Rotation.random(len(data), rng).as_matrix()
        for index, turn in enumerate(turns):
            step = ParticleStep(task, index)
            step.masked, step.unmasked = data.centred(index)
            once = np.zeros(1, np.int64), np.zeros((1, 1, 1), np.float32)
            accumulate(step, Poses(turn[None], np.zeros((1, 3)), once[1], once[0], 1), sums)
        average = BackProjection.of(
            sums.data[0], sums.weight[0], run.options.pad, data.box, run.operators
        ).map(None, radius, run.threads)
        maps.append((average * mask).astype(np.float32))
    return maps
