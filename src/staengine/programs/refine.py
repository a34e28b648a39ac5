"""relion_refine and relion_refine_mpi: Class3D and auto-refinement of 2D-stack subtomograms by maximum likelihood.

Scheres, J. Mol. Biol. 415 (2012) 406 and J. Struct. Biol. 180 (2012) 519; Scheres & Chen, Nat. Methods 9 (2012) 853;
for tilt series Zivanov et al., eLife 11 (2022) e83724. Embedded: all in one process, both half sets too.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staengine.cli import ProgressBar, stop_if_aborted
from staengine.errors import EngineError
from staengine.numerics import fourier, symmetry
from staengine.numerics.maps import lowpass, read_map
from staengine.numerics.projector import padded_transform
from staengine.refinement import maximisation
from staengine.refinement.accuracy import accuracy
from staengine.refinement.auto_refine import (
    angular_changes,
    has_converged,
    next_sampling,
    note_changes,
    note_resolution,
)
from staengine.refinement.continuation import (
    merged_command,
    read_model,
    read_optimiser,
    read_progress,
    read_sampling,
)
from staengine.refinement.expectation import Sums, Task, run
from staengine.refinement.maximisation import Gathered
from staengine.refinement.model import ClassModel, Model, Progress
from staengine.refinement.options import read_options
from staengine.refinement.output_files import Run, write_iteration
from staengine.refinement.particle_data import RefineData
from staengine.refinement.sampling import OrientationGrid, Sampling
from staengine.tilt_series.tomo import OptimisationSet, ParticleSet, read_optimisation_set

FIRST_RESOLUTION = 0.07  # 1/px, of a reference that is not filtered
COARSE_LIMIT = (
    2.5  # coarse steps per detail: the coarse pass sees none finer, so half a step off still matches
)
MAX_SCALE = 5.0  # contrast of a tilt series relative to the others


def main(argv: list[str], is_mpi: bool = False) -> int:
    program = "relion_refine_mpi" if is_mpi else "relion_refine"
    optimiser = argv[argv.index("--continue") + 1] if "--continue" in argv[:-1] else ""
    command = merged_command(argv) if optimiser else argv
    Refinement(read_options(program, command), command, is_mpi, optimiser).run()
    return 0


class Refinement:
    """One run of the program, from its options to its last file."""

    def __init__(
        self, options: SimpleNamespace, command: list[str], is_mpi: bool, optimiser: str = ""
    ) -> None:
        self.options = options
        self.before = read_optimiser(optimiser) if optimiser else None
        options.random_seed = options.random_seed if options.random_seed > 0 else int(time.time()) % 2**31
        self.threads = max(1, options.j) * (2 if is_mpi else 1)
        state = _inputs(options)
        if self.before:
            state = replace(state, particles=self.before["rlnExperimentalDataStarFile"])
        particles = ParticleSet.read(state.particles, state.trajectories)
        self.data = RefineData(particles, state.tomograms, options.particle_diameter)
        options.pixel, options.box_length = self.data.pixel, self.data.box * self.data.pixel
        self.progress = read_progress(self.before, options.box_length) if self.before else Progress()
        self.rng = np.random.default_rng((options.random_seed, self.progress.iteration))
        self.operators = symmetry.rotations(options.sym)
        self.halves = self._half_sets()
        n_iterations = options.auto_iter_max if options.auto_refine else options.iter
        self.run_files = Run(options.o, command, options, state, n_iterations, options.auto_refine)
        self.mask = self._solvent_mask()
        step, reach = options.offset_step * self.data.pixel, options.offset_range * self.data.pixel
        original = {"healpix_order": options.healpix_order, "offset_step": step, "offset_range": reach}
        self.sampling = Sampling(
            options.healpix_order, reach, step, options.oversampling, options.sym, original=original
        )
        self.statistics: dict[str, NDArray] = {}
        self.models: list[Model] = []

    # ---------------------------------------------------------------- start

    @property
    def n_shells(self) -> int:
        return self.data.box // 2 + 1

    @property
    def initial_shell(self) -> int:
        if self.options.ini_high > 0:
            return max(1, min(round(self.options.box_length / self.options.ini_high), self.n_shells - 1))
        return max(1, round(FIRST_RESOLUTION * self.data.box))

    def _half_sets(self) -> list[NDArray[np.int64]]:
        """Row numbers of each half set; one set of all if halves are not asked for."""
        everything = np.arange(len(self.data))
        if not self.options.split_random_halves:
            return [everything]
        table = self.data.set.particles
        if self.data.set.half_sets is None:
            subset = self.rng.permutation(len(table)) % 2 + 1
            table["rlnRandomSubset"] = subset
        halves = [np.flatnonzero(table["rlnRandomSubset"].to_numpy(int) == h) for h in (1, 2)]
        if min(len(h) for h in halves) == 0 or sum(len(h) for h in halves) != len(table):
            raise EngineError(
                f"{self.data.set.path}: rlnRandomSubset must hold both 1 and 2, and nothing else."
            )
        return halves

    def _solvent_mask(self) -> NDArray[np.float32] | None:
        options, box = self.options, self.data.box
        if options.solvent_mask:
            mask, _ = read_map(options.solvent_mask, "solvent mask")
            if mask.shape[0] != box:
                raise EngineError(
                    f"the solvent mask {options.solvent_mask} has a box of {mask.shape[0]}, the particles have {box}."
                )
            if mask.min() < -1e-5 or mask.max() > 1 + 1e-5:
                raise EngineError(f"the solvent mask {options.solvent_mask} has values outside 0..1.")
            if mask.max() <= 0:
                raise EngineError(f"the solvent mask {options.solvent_mask} is empty.")
            return mask
        if options.flatten_solvent:
            return fourier.soft_sphere(
                box, options.particle_diameter / (2 * self.data.pixel), options.maskedge
            )
        return None

    def _flattened(self, volume: NDArray) -> NDArray[np.float32]:
        return volume if self.mask is None else (volume * self.mask).astype(np.float32)

    def start(self) -> None:
        """Reference, noise and priors before the first iteration; writes iteration 0."""
        options = self.options
        reference = self._reference()
        n_directions = len(self.sampling.directions())
        noise = self._initial_noise()
        sigma_angle = max(options.sigma_ang, 0.0)
        if options.auto_refine and options.healpix_order >= options.auto_local_healpix_order:
            sigma_angle = 2 * self.sampling.fine_angle
        for _ in self.halves:
            classes = [
                ClassModel.start(reference.copy(), 1 / options.K, n_directions) for _ in range(options.K)
            ]
            for one in classes:
                one.tau2 = maximisation.signal_power(
                    padded_transform(reference, options.pad), options.pad, self.data.box
                )
            self.models.append(
                Model(classes, noise.copy(), np.ones(len(self.data.group_names)), options.offset, sigma_angle)
            )
        self.write()
        for model in self.models:
            model.resolution = self.initial_shell
        self.progress.best_resolution = self.initial_shell

    def resume(self, before: dict[str, Any]) -> None:
        """Take up the model and the sampling of a finished iteration."""
        if self.progress.iteration > 0 or self.options.auto_refine:
            self.sampling = read_sampling(before["rlnOrientSamplingStarFile"], self.sampling)
        files = [before[key] for key in ("rlnModelStarFile", "rlnModelStarFile2") if key in before]
        if len(files) != len(self.halves):
            raise EngineError("--continue: the run to go on with has another number of half sets.")
        self.models = [read_model(path, self.data) for path in files]
        for model in self.models:
            model.resolution = model.resolution or self.initial_shell
        if self.progress.iteration >= self.run_files.n_iterations:
            print(f" All {self.run_files.n_iterations} iterations are done; give a larger --iter to go on.")

    def _reference(self) -> NDArray[np.float32]:
        options, data = self.options, self.data
        values, pixel = read_map(options.ref, "reference map")
        pixel = options.ref_angpix if options.ref_angpix > 0 else pixel or data.pixel
        cure = "give --trust_ref_size to bring it to the pixel and box of the data."
        if abs(pixel - data.pixel) > 0.01 * data.pixel:
            if not options.trust_ref_size:
                raise EngineError(
                    f"the reference {options.ref} has a pixel size of {pixel:g} Å, the data {data.pixel:g} Å: {cure}"
                )
            box = 2 * round(values.shape[0] * pixel / data.pixel / 2)
            values = fourier.resample(values, box, 3)
        if values.shape[0] != data.box:
            if not options.trust_ref_size:
                raise EngineError(
                    f"the reference {options.ref} has a box of {values.shape[0]}, the data {data.box}: {cure}"
                )
            values = fourier.window(values, data.box, 3)
        if options.ini_high > 0:
            values = fourier.irfft(lowpass(fourier.rfft(values, 3), data.pixel, options.ini_high), 3)
        values = self._flattened(values.astype(np.float32))
        if not values.any():
            raise EngineError(f"the reference {options.ref} is empty.")
        return values

    def _initial_noise(self) -> NDArray[np.float64]:
        """Noise spectra (optics groups, shells) from the power of a few particles: upper bounds, with signal."""
        print(" Estimating initial noise spectra from at most 10 particles ")
        data, n = self.data, self.n_shells
        power, ctf2 = np.zeros((len(data.optics_names), n)), np.zeros((len(data.optics_names), n))
        bar = ProgressBar(10)
        for o in range(len(power)):
            members = [i for i, p in enumerate(data.particles) if p.optics == o]
            for i in members[:: max(1, len(members) // 10)][:10]:
                masked, _ = data.centred(i)
                shells = np.broadcast_to(data.components.shell, masked.shape).ravel()
                power[o] += np.bincount(shells, (np.abs(masked) ** 2).ravel(), minlength=n)
                ctf2[o] += np.bincount(shells, (data.particles[i].ctf ** 2).ravel(), minlength=n)
        bar.done()
        return power / np.maximum(2 * ctf2, 1e-30)

    # ---------------------------------------------------------------- iterations

    def run(self) -> None:
        if self.before:
            self.resume(self.before)
        else:
            self.start()
        self.iterate()

    def iterate(self) -> None:
        """All iterations that are left."""
        while self.progress.iteration < self.run_files.n_iterations and not self.progress.converged:
            stop_if_aborted(self.options.pipeline_control)
            self.one_iteration()
        if self.options.auto_refine:
            self._say_goodbye()

    def one_iteration(self) -> None:
        options, progress = self.options, self.progress
        progress.iteration += 1
        if options.auto_refine:
            self._auto_report()
        tasks = [self._task(model) for model in self.models]
        if progress.iteration > 1:
            self._estimate_accuracies(tasks[0])
        if options.auto_refine:
            self._auto_sampling()
        self.sampling = self.sampling.perturbed(self.rng)
        grid = OrientationGrid(self.sampling)
        for task, model in zip(tasks, self.models, strict=True):
            task.grid, task.sigma_angle = grid, model.sigma_angle
            self._limit_resolution(task, model)
        self._print_sampling(tasks[0])
        sums = self._expect(tasks)
        self._maximise(sums, tasks)

    @property
    def by_correlation(self) -> bool:
        return self.options.firstiter_cc and self.progress.iteration == 1

    def _task(self, model: Model) -> Task:
        options, data = self.options, self.data
        radius = self._image_radius(model)
        return Task(
            data=data,
            transforms=[
                padded_transform(c.reference, options.pad, self.threads, radius) for c in model.classes
            ],
            padding=options.pad,
            n_components=0,
            n_fit=0,
            n_coarse=0,
            noise=model.noise,
            scales=model.scales,
            grid=OrientationGrid(self.sampling),
            class_priors=np.array([c.share for c in model.classes]),
            sigma_angle=model.sigma_angle,
            sigma_offset=model.sigma_offset,
            cross_correlation=self.by_correlation,
            skip_align=options.skip_align,
            seed_classes=self._seed_classes(),
            adaptive_fraction=options.adaptive_fraction,
            noise_outside_mask=not options.zero_mask,
            iteration=self.progress.iteration,
        )

    def _seed_classes(self) -> NDArray[np.int64] | None:
        """With identical references: all particles to the first class by correlation, then each to a random class."""
        k, iteration = self.options.K, self.progress.iteration
        if k == 1:
            return None
        if self.by_correlation:
            return np.zeros(len(self.data), np.int64)
        if iteration == (2 if self.options.firstiter_cc else 1):
            return np.random.default_rng((self.options.random_seed, 1)).integers(k, size=len(self.data))
        return None

    def _limit_resolution(self, task: Task, model: Model) -> None:
        """Which components are used: some beyond the resolution; in the coarse pass what its steps can resolve."""
        options, c = self.options, self.data.components
        radius, limit = self._image_radius(model), self._known_radius(model)
        model.image_size = 2 * radius
        if options.strict_highres_exp > 0:
            limit = min(limit, options.box_length / options.strict_highres_exp)
        edge_step = (
            np.deg2rad(self.sampling.psi_step) * options.particle_diameter / 2
        )  # Å between coarse orientations
        finest = COARSE_LIMIT * max(edge_step, self.sampling.offset_step)
        coarse = options.coarse_size / 2 if options.coarse_size > 0 else options.box_length / finest
        task.n_components = c.count_within(radius)
        task.n_fit = c.count_within(limit)
        task.n_coarse = c.count_within(min(limit, coarse))

    def _known_radius(self, model: Model) -> int:
        """Up to which shell the reference may hold anything: some beyond the resolution."""
        options, nyquist = self.options, self.data.box // 2
        large = max(options.incr_size, nyquist // 4)
        extra = large if self.progress.high_fsc_at_limit else options.incr_size
        return min(nyquist, model.resolution + extra)

    def _image_radius(self, model: Model) -> int:
        """Up to which shell images are used: in the last iteration, to Nyquist."""
        return self.data.box // 2 if self.progress.converged else self._known_radius(model)

    def _expect(self, tasks: list[Task]) -> list[Sums]:
        options, iteration = self.options, self.progress.iteration
        of = "" if options.auto_refine else f" of {options.iter}"
        print(f" Expectation iteration {iteration}{of}")
        bar, done, lock = ProgressBar(len(self.data)), [0], threading.Lock()

        def tick() -> None:
            with lock:
                done[0] += 1
                bar.update(done[0])

        sums = [run(t, half, self.threads, tick) for t, half in zip(tasks, self.halves, strict=True)]
        bar.done()
        self._take_poses(sums)
        return sums

    def _take_poses(self, sums: list[Sums]) -> None:
        """Move the particles to their most probable poses, and record how much that changed."""
        data, n = self.data, len(self.data)
        before = data.angles.copy(), data.origins.copy(), data.classes.copy()
        outcomes = {i: o for s in sums for i, o in s.outcomes.items()}
        for i, o in outcomes.items():
            if self.options.skip_align:
                data.classes[i] = o.klass + 1
            else:
                data.set_pose(i, o.rotation, o.origin, o.klass + 1)
        self.statistics = {
            "rlnNormCorrection": np.ones(n),
            "rlnLogLikeliContribution": np.array([outcomes[i].log_likelihood for i in range(n)]),
            "rlnMaxValueProbDistribution": np.array([outcomes[i].max_probability for i in range(n)]),
            "rlnNrOfSignificantSamples": np.array([outcomes[i].n_significant for i in range(n)]),
        }
        angles = angular_changes(before[0], data.angles, self.operators).mean()
        offsets = np.sqrt(((before[1] - data.origins) ** 2).sum(1).mean() / 2)
        classes = float((before[2] != data.classes).mean()) if self.progress.iteration > 1 else 0.0
        note_changes(self.progress, float(angles), float(offsets), classes, self.sampling)

    def _estimate_accuracies(self, task: Task) -> None:
        """Of each class, from particles of the first half set; the progress keeps the best class's."""
        print(" Estimating accuracies in the orientational assignment ... ")
        model, members = self.models[0], self.halves[0]
        self._limit_resolution(task, model)
        bar = ProgressBar(len(model.classes))
        for k, one in enumerate(model.classes):
            own = members[self.data.classes[members] == k + 1]
            if (
                not len(own) and one.share > 0.01
            ):  # references that are all the same before classes are seeded
                own = members
            one.accuracy_rotations, one.accuracy_offsets, one.orientability = accuracy(
                task, k, own, self.rng, self.threads
            )
            bar.update(k + 1)
        bar.done()
        occupied = [c for c in model.classes if c.share > 0.01] or model.classes
        self.progress.accuracy_rotations = min(c.accuracy_rotations for c in occupied)
        self.progress.accuracy_offsets = min(c.accuracy_offsets for c in occupied)
        print(
            f" Auto-refine: Estimated accuracy angles= {self.progress.accuracy_rotations:g} degrees; "
            f"offsets= {self.progress.accuracy_offsets:g} Angstroms"
        )

    # ---------------------------------------------------------------- maximisation

    def _gathered(self, sums: Sums) -> list[Gathered]:
        pad, box = self.options.pad, self.data.box
        return [
            Gathered.of(sums.data[k], sums.weight[k], pad, box, self.operators) for k in range(len(sums.data))
        ]

    def _maximise(self, sums: list[Sums], tasks: list[Task]) -> None:
        fitted = [self._fitted_scale(s) for s in sums]
        for model, s in zip(self.models, sums, strict=True):
            self._update_parameters(model, s)
        if self.options.auto_refine:
            self._maximise_halves(sums, tasks)
            return
        print(" Maximization...")
        bar = ProgressBar(self.options.K)
        model, task, s = self.models[0], tasks[0], sums[0]
        gathered = self._gathered(s)
        mean_ctf2 = self.data.mean_ctf2.mean(0)
        seeds_only = self.by_correlation and self.options.K > 1
        for k, one in enumerate(model.classes[: 1 if seeds_only else None]):
            power = maximisation.signal_power(task.transforms[k], self.options.pad, self.data.box)
            tau2 = self.options.tau2_fudge * power * fitted[0] ** 2
            self._update_class(one, gathered[k], tau2, model.image_size // 2, tau2 / mean_ctf2)
            one.resolution = self._capped(maximisation.resolution_shell(one.ssnr))
        if seeds_only:
            first = model.classes[0]
            model.classes = [replace(first, share=1 / self.options.K) for _ in model.classes]
        bar.done()
        model.resolution = max(1, *(c.resolution for c in model.classes))
        note_resolution(self.progress, model.resolution)
        self.write()

    def _capped(self, shell: int) -> int:
        """After cross-correlation alone the resolution is no better than the filter of the reference."""
        filtered = self.by_correlation and self.options.ini_high > 0
        return min(shell, self.initial_shell) if filtered else shell

    def _fitted_scale(self, sums: Sums) -> float:
        """What the references must be multiplied with to have the data's grey scale; 1 after the first iteration."""
        if not self.by_correlation:
            return 1.0
        numerator, denominator = sums.fit.sum(0)
        return max(numerator / max(denominator, 1e-30), 1e-6)

    def _update_class(
        self, one: ClassModel, gathered: Gathered, tau2: NDArray, radius: int, prior: NDArray | None = None
    ) -> None:
        """A class's map, its spectra and its SSNR = tau2 / sigma2; the map's prior is `prior`, or tau2.

        In Class3D RELION 5 weighs data that are multiplied by their CTF against tau2 divided by the mean squared CTF;
        with tau2 alone, the power of the last map, weak shells would fade from one iteration to the next.
        """
        inverse = gathered.inverse_variance()
        one.tau2 = tau2
        one.sigma2 = np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0)
        one.ssnr = tau2 * inverse
        one.completeness = maximisation.completeness(gathered, tau2)
        one.reference = self._flattened(gathered.map(tau2 if prior is None else prior, radius, self.threads))

    def _update_parameters(self, model: Model, sums: Sums) -> None:
        """Distributions of offsets, classes and directions; and, after the first correlation, noise and contrasts."""
        options = self.options
        n = sums.classes.sum()
        outcomes = list(sums.outcomes.values())
        model.average_pmax = float(np.mean([o.max_probability for o in outcomes]))
        model.log_likelihood = float(np.sum([o.log_likelihood for o in outcomes]))
        if not options.fix_sigma_offset and not options.skip_align:
            model.sigma_offset = max(float(np.sqrt(sums.offset2 / (3 * n))), 0.1 * self.data.pixel)
        for k, one in enumerate(model.classes):
            one.share = float(sums.classes[k] / n)
            total = sums.directions[k].sum()
            if total > 0:
                one.directions = sums.directions[k] / total
        if self.by_correlation:
            return
        if not options.fix_sigma_noise:
            known = sums.ctf2 > 0
            estimate = np.divide(sums.noise, 2 * sums.ctf2, out=np.zeros_like(sums.noise), where=known)
            model.noise = np.where(estimate > 0, estimate, model.noise)
        if options.scale:
            model.scales = self._scales(model.scales, sums.fit)

    def _scales(self, present: NDArray, fit: NDArray) -> NDArray[np.float64]:
        """Best contrast of each tilt series, with a mean of one over the particles."""
        scales = np.divide(fit[:, 0], fit[:, 1], out=present.copy(), where=fit[:, 1] > 0)
        counts = np.bincount([p.group for p in self.data.particles], minlength=len(scales))
        average = np.average(scales, weights=counts)
        if average <= 0:
            return present
        scales = np.clip(scales / average, 1 / MAX_SCALE, MAX_SCALE)
        return scales / np.average(scales, weights=counts)

    # ---------------------------------------------------------------- half sets

    def _maximise_halves(self, sums: list[Sums], tasks: list[Task]) -> None:
        options, progress = self.options, self.progress
        apart = [self._gathered(s)[0] for s in sums]
        radius = self.models[0].image_size // 2
        halves = self._joined(apart)
        unfiltered = [g.map(None, radius, self.threads) for g in halves]
        fsc = self._fsc(unfiltered)
        print(" Maximization...")
        bar = ProgressBar(1)
        shell = self._capped(maximisation.fsc_shell(fsc))
        if progress.converged:
            self._finish(apart, fsc, shell, radius)
            bar.done()
            return
        ssnr = options.tau2_fudge * maximisation.ssnr_of_fsc(fsc)
        for model, gathered in zip(self.models, halves, strict=True):
            one = model.classes[0]
            inverse = gathered.inverse_variance()
            tau2 = np.divide(ssnr, inverse, out=np.zeros_like(ssnr), where=inverse > 0)
            self._update_class(one, gathered, tau2, radius)
            one.fsc, one.ssnr, one.resolution, model.resolution = fsc, ssnr, shell, shell
        bar.done()
        progress.high_fsc_at_limit = bool(fsc[min(radius, self.n_shells - 1)] > 0.2)
        note_resolution(progress, shell)
        self.write(unfiltered)

    def _joined(self, halves: list[Gathered]) -> list[Gathered]:
        """Both halves the same up to --low_resol_join_halves, but never beyond the resolution reached."""
        if self.options.low_resol_join_halves <= 0:
            return halves
        wanted = int(self.options.box_length / self.options.low_resol_join_halves)
        shell = min(wanted, self.models[0].resolution)
        print(
            f" Averaging half-reconstructions up to {self.options.box_length / shell:g} Angstrom resolution to prevent "
            "diverging orientations ...\n Note that only for higher resolutions the FSC-values are according to the "
            "gold-standard!"
        )
        return list(halves[0].joined_below(halves[1], shell - 1))

    def _fsc(self, halves: list[NDArray]) -> NDArray[np.float64]:
        if not self.options.solvent_correct_fsc:
            return fourier.fsc(*halves)
        print(" Calculating solvent-corrected gold-standard FSC ...")
        assert self.mask is not None
        fsc, start = maximisation.corrected_fsc(halves[0], halves[1], self.mask, self.rng)
        print(f"  + randomize phases beyond: {self.options.box_length / start:14g} Angstroms")
        return fsc

    def _finish(self, halves: list[Gathered], fsc: NDArray, shell: int, radius: int) -> None:
        """The last iteration: one map from all particles, and the two independent half maps without any filter."""
        unfiltered = [g.map(None, radius, self.threads) for g in halves]
        together = halves[0].plus(halves[1])
        correlation = maximisation.fsc_of_sum(fsc)
        ssnr = self.options.tau2_fudge * maximisation.ssnr_of_fsc(correlation)
        inverse = together.inverse_variance()
        tau2 = np.divide(ssnr, inverse, out=np.zeros_like(ssnr), where=inverse > 0)
        first, second = self.models
        one = first.classes[0]
        self._update_class(one, together, tau2, radius)
        one.fsc, one.ssnr, one.resolution, first.resolution = fsc, ssnr, shell, shell
        first.noise = (first.noise + second.noise) / 2
        first.scales = (first.scales + second.scales) / 2
        first.sigma_offset = float(np.hypot(first.sigma_offset, second.sigma_offset) / np.sqrt(2))
        first.log_likelihood += second.log_likelihood
        first.average_pmax = float(self.statistics["rlnMaxValueProbDistribution"].mean())
        note_resolution(self.progress, shell)
        write_iteration(
            self.run_files,
            self.data,
            [first],
            self.sampling,
            self.progress,
            self._columns(),
            unfiltered,
            final=True,
        )

    def _auto_report(self) -> None:
        """Say where the refinement stands; from the second iteration on also decide whether it is over."""
        options, progress = self.options, self.progress
        progress.converged = progress.iteration > 1 and (
            options.force_converge or has_converged(progress, options)
        )
        resolution = options.box_length / self.models[0].resolution
        print(f" Auto-refine: Iteration= {progress.iteration}")
        print(f" Auto-refine: Resolution= {resolution:g} (no gain for {progress.without_gain} iter) ")
        print(
            f" Auto-refine: Changes in angles= {progress.changes_angles:g} degrees; and in offsets= "
            f"{progress.changes_offsets:g} Angstroms (no gain for {progress.settled} iter) "
        )
        if progress.converged:
            print(
                " Auto-refine: Refinement has converged, entering last iteration where two halves will be combined..."
            )
            print(
                " Auto-refine: The last iteration will use data to Nyquist frequency, which may take more CPU and RAM."
            )

    def _auto_sampling(self) -> None:
        options, progress = self.options, self.progress
        resolution = options.box_length / self.models[0].resolution
        if progress.iteration > 1 and not progress.converged:
            self._go_finer(resolution)
        if progress.iteration > 1:
            print(
                f" Auto-refine: Angular step= {self.sampling.fine_angle:g} degrees; local searches= "
                f"{'true' if self.models[0].sigma_angle > 0 else 'false'}"
            )
            print(
                f" Auto-refine: Offset search range= {self.sampling.offset_range:g} Angstroms; offset step= "
                f"{self.sampling.fine_offset:g} Angstroms"
            )

    def _go_finer(self, resolution: float) -> None:
        old = self.sampling
        self.sampling = next_sampling(old, self.progress, self.options, resolution)
        if self.sampling.healpix_order == old.healpix_order:
            return
        n = len(self.sampling.directions())
        local = self.sampling.healpix_order >= self.options.auto_local_healpix_order
        for model in self.models:
            if local:
                model.sigma_angle = 2 * self.sampling.fine_angle
            for one in model.classes:
                one.directions = np.full(n, 1 / n)

    def _say_goodbye(self) -> None:
        root, length = self.options.o, self.options.box_length
        if not self.progress.converged:
            print(f" Auto-refine: not converged after {self.progress.iteration} iterations; stopping.")
            return
        note = "already with" if self.options.solvent_correct_fsc else "without"
        print(" Auto-refine: Refinement has converged, stopping now... ")
        print(f" Auto-refine: + Final reconstruction from all particles is saved as: {root}_class001.mrc")
        print(f" Auto-refine: + Final model parameters are stored in: {root}_model.star")
        print(f" Auto-refine: + Final data parameters are stored in: {root}_data.star")
        print(f" Auto-refine: + Final resolution ({note} masking) is: {length / self.models[0].resolution:g}")

    # ---------------------------------------------------------------- output

    def _columns(self) -> dict[str, NDArray]:
        if self.statistics:
            return self.statistics
        return {"rlnNormCorrection": np.ones(len(self.data))}

    def write(self, unfiltered: list[NDArray] | None = None) -> None:
        write_iteration(
            self.run_files, self.data, self.models, self.sampling, self.progress, self._columns(), unfiltered
        )

    def _print_sampling(self, task: Task) -> None:
        options, sampling, model = self.options, self.sampling, self.models[0]
        resolution = options.box_length / model.resolution
        needed = 360 / np.ceil(np.pi * options.particle_diameter / resolution)
        print(
            f" CurrentResolution= {resolution:g} Angstroms, which requires orientationSampling of at least {needed:g} "
            f"degrees for a particle of diameter {options.particle_diameter:g} Angstroms"
        )
        if options.skip_align:
            orientations = offsets = 1
        else:
            first = int(self.halves[0][0])
            grid = task.grid
            local = task.sigma_angle > 0
            orientations = len(
                grid.around(self.data.angles[first], task.sigma_angle) if local else grid.everywhere()
            )
            offsets = len(sampling.offsets())
        for o in range(1 if options.skip_align else sampling.oversampling + 1):
            n_orientations, n_offsets = orientations * 8**o, offsets * 8**o
            print(
                f" Oversampling= {o} NrHiddenVariableSamplingPoints= {options.K * n_orientations * n_offsets}"
            )
            print(f" OrientationalSampling= {sampling.psi_step / 2**o:g} NrOrientations= {n_orientations}")
            print(f" TranslationalSampling= {sampling.offset_step / 2**o:g} NrTranslations= {n_offsets}")
            print("=============================")
        sys.stdout.flush()


def _inputs(options: SimpleNamespace) -> OptimisationSet:
    """The input state: what --i, --tomograms and --trajectories say goes before what the set says."""
    found = read_optimisation_set(options.ios) if options.ios else OptimisationSet("", "")
    state = OptimisationSet(
        options.i or found.particles,
        options.tomograms or found.tomograms,
        options.trajectories or found.trajectories,
    )
    if not state.tomograms:
        raise EngineError("give the tomograms file with --tomograms, or an optimisation set with --ios.")
    return state
