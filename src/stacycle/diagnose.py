"""Why a program failed, and what to do: from its exit status and the lines of its log, in plain sentences.

Five tables, each with the most specific entry first: `OUTSIDE` and `FAULTS` are known by their words in the log,
`ENDINGS` and `CRASHES` by the signal that ended the program; `WARNINGS` are faults at which RELION exits 0. What is in
`OUTSIDE` and `ENDINGS` says nothing of data and settings: machine, queue or a person ended the program. Where a log
shows several (every MPI rank repeats an error; MPI_ABORT and "terminate called" follow it), the order of the
tables finds the cause, not what came of it. Wording: seen in RELION 5.0.1's own failures, or in the thread
that is linked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Literal

RELION = "https://github.com/3dem/relion/issues/"
LONGEST_LINE = 500  # characters of a line that are looked at; STAR rows can be far longer
# Said by healthy runs too: no display, Qt, graphics, MPI about its own plug-ins.
HARMLESS = re.compile(
    r"No protocol specified|cannot open display|Can't open display|qt\.qpa|QStandardPaths|libGL error"
    r"|Gtk-WARNING|/dev/dri/|hwloc/|\(ignored\)$|btl_openib|help_aggregate|sent help message"
)
# An error that RELION met and got over by itself.
MENDED = re.compile(r"WARNING: Exception \([\s\S]{0,800}?handled by switching to fail-safe mode\.?")


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong, what to do, where the fault is known, and the `retry` that may cure it by itself.

    `retry` is "continue" (it passes by itself), "combine_via_disc" (weighted sums go through files, not MPI),
    "fewer_threads" (less memory) or None. `kind` is "fault", "outside" (of the machine, the queue or a person: the same
    command may well succeed), "unknown" (a failure that no table explains), "warning" (of a run that ended well) or
    "none" (no fault in the log).
    """

    cause: str
    cure: str
    link: str | None = None
    retry: str | None = None
    kind: Literal["fault", "outside", "unknown", "warning", "none"] = "fault"

    @property
    def known(self) -> bool:
        return self.kind != "unknown"

    def __str__(self) -> str:
        return f"{self.cause} {self.cure}"


@dataclass(frozen=True)
class Fault:
    """One known fault. `sign` is a pattern in the log.

    `detail` is one more, if it must be there too: its last place counts. The named groups of both, {where} and
    {program} fill the sentences; a group file2 is another place to find {file}.
    `signal` is the number of the signal that is a sign as well; `program` a pattern of the programs meant.
    """

    sign: str
    cause: str
    cure: str
    link: str | None = None
    retry: str | None = None
    signal: int | None = None
    program: str = ""
    detail: str = ""

    def words(self, text: str) -> dict[str, str] | None:
        """What the groups found in the log; None if this fault is not in it."""
        found = _compiled(self.sign).search(text)
        details = list(_compiled(self.detail).finditer(text)) if self.detail and found else []
        if not found or (self.detail and not details):
            return None
        groups = found.groupdict() | (details[-1].groupdict() if details else {})
        return {name.rstrip("0123456789"): word.strip() for name, word in groups.items() if word}

    def diagnosis(self, program: str, where: str, words: dict[str, str]) -> Diagnosis:
        words = words | {"program": program, "where": where}
        return Diagnosis(self.cause.format(**words), self.cure.format(**words), self.link, self.retry)


_FEWER_RANKS = (
    "Give the job more memory, or run it with fewer MPI ranks or threads per node; a smaller box helps most "
    "(memory grows with its cube)."
)
_CONTINUE = "Nothing is lost but this iteration or tomogram: start the run again and it continues."

OUTSIDE = (
    # -- the batch system
    Fault(
        r"DUE TO TIME LIMIT|TERM_RUNLIMIT|job killed: walltime"
        r"|exceeded (hard )?(wallclock|wall ?time|run ?time)",
        "The batch system ended the job at its wall-time limit{where}.",
        "Start the run again: it continues where it was; ask for more time (`runtime` in the profile) to "
        "need fewer starts.",
        "https://docs.rc.ufl.edu/scheduler/job_states",
    ),
    Fault(
        r"oom[-_ ]?kill|TERM_MEMLIMIT|task \d+: Out Of Memory|job killed: (v?mem|memory)"
        r"|Exceeded (job|step) memory limit|Out of memory: Kill",
        "The job used more memory than it was given, and the system killed it{where}.",
        "Ask for more memory (`mem_mb` in the profile), or use fewer MPI ranks or threads, or a smaller box.",
        "https://docs.nesi.org.nz/General/FAQs/What_does_oom_kill_mean/",
        "fewer_threads",
    ),
    Fault(
        r"DUE TO PREEMPTION|TERM_PREEMPT",
        "The batch system took the node away for a job of higher priority{where}.",
        _CONTINUE,
        "https://www.ibm.com/docs/SSWRJV_10.1.0/lsf_admin/termination_reasons_lsf.html",
    ),
    Fault(
        r"DUE TO NODE FAIL|NODE_FAIL|ORTE has lost communication|PRTE has lost communication"
        r"|lost connection to (the )?(remote )?daemon",
        "The MPI ranks lost a node, or their network connection to it{where}.",
        "Start the run again: it continues. If it is always the same node, tell who runs the cluster.",
        retry="continue",
    ),
    Fault(
        r"(JOB|STEP) \S+ ON \S+ CANCELLED AT|TERM_(OWNER|ADMIN|FORCE_OWNER|FORCE_ADMIN)",
        "Somebody cancelled the job (scancel, bkill or the like){where}.",
        _CONTINUE,
    ),
    # -- the container
    Fault(
        r"^FATAL:\s+(?P<why>.+)",
        "Apptainer could not start the container, and says: {why}.",
        "See whether the image of `engine.container` can be read, and run there by hand "
        "(`apptainer exec IMAGE true`); then start again.",
    ),
    # -- the file system
    Fault(
        r"No space left on device|Disk quota exceeded|EDQUOT|quota exceeded",
        "The disk or your quota on it is full{where}.",
        "Free space (`df -h`, `quota -s`; the number of files can be the limit as well: `df -i`), then "
        "start again.",
        RELION + "1067",
    ),
    Fault(
        r"Can not close (image|header) file|[Ee]rror writing file",
        "A file could not be written to the end{where}: nearly always the disk, or your quota on it, is "
        "full.",
        "Free space where the results go (`df -h .`, `quota -s`), then start again; the file that was cut "
        "short is made anew.",
        RELION + "333",
    ),
    Fault(
        r"(?:Cannot|cannot|unable to) write (?:to )?(?:file: ?)?(?P<file>\S+)",
        "The file {file} could not be written{where}.",
        "Look whether its folder exists and belongs to you, and whether the disk or your quota is full.",
    ),
    Fault(
        r"output directory does not exist",
        "The output folder does not exist.",
        "Make it, or correct --o, which counts from the project folder.",
    ),
    Fault(
        r"Stale (NFS )?file handle",
        "The network file system lost track of a file that was open{where}.",
        "This passes by itself: start again and it continues. If it comes back, tell who runs the file "
        "server.",
        retry="continue",
    ),
    Fault(
        r"Input/output error|Transport endpoint is not connected|Remote I/O error|Read-only file system",
        "The disk or file server failed while a file was read or written{where}.",
        "Look whether the folder can still be read and written (`ls`, `touch`), and ask who runs the "
        "machine.",
    ),
    Fault(
        r"Too many open files",
        "More files were open at once than this machine allows{where}.",
        "Raise the limit (`ulimit -n 65536` before Snakemake starts), or use fewer MPI ranks or threads.",
        RELION + "819",
    ),
    Fault(
        r"Permission denied:? '?(?P<file>[^'\n]*(?:\.cache|torch)[^'\n]*)",
        "RELION's Python part may not read the weights of its network ({file}).",
        "Ask who installed RELION to set TORCH_HOME to a folder that everyone can read, and to install it "
        "again.",
        RELION + "1237",
    ),
    Fault(
        r"Permission denied:? '(?P<file>[^'\n]+)'|(?:^|[\s'\"])(?P<file2>[^\s:'\"]+)['\"]?: Permission denied",
        "Access to {file} was refused{where}.",
        "Look who owns it and whether the node that ran the job may use it (`ls -l`).",
    ),
)

FAULTS = (
    # -- programs, libraries, MPI
    Fault(
        r"(?:^|\s)(?P<what>\S+): error while loading shared libraries: (?P<library>[^\s:]+)",
        "{what} could not start: it was built with {library}, which is not found.",
        "Load the modules (MPI, CUDA, compiler) that RELION was built with; `ldd` on the program names all "
        "that is missing.",
        RELION + "276",
    ),
    Fault(
        r": symbol lookup error|undefined symbol: ",
        "A library that RELION was built with is there in another version.",
        "Load the modules (MPI, CUDA, compiler) that RELION was built with.",
        RELION + "606",
    ),
    Fault(
        r"version [`'](?P<library>(GLIBC|GLIBCXX|CXXABI)\S*?)' not found",
        "{program} was built on a newer system than this one ({library} is missing here).",
        "Run it on the kind of node that it was built for, or in a container.",
    ),
    Fault(
        r"Option --ios\s+is not a valid RELION argument",
        "This RELION is too old: it does not know RELION 5's optimisation sets (`--ios`).",
        "Load RELION 5 (`relion_refine --version`), or say in `engine: {{bin: ...}}` where its programs "
        "are; Debian and Ubuntu ship version 3.1.",
    ),
    Fault(
        r"\b(?P<what>(?:relion|mpi|srun|python|conda|module|apptainer|singularity)[\w.]*): (?:command "
        r")?not found"
        r"|execvp error on file (?P<what2>\S+)"
        r"|No such file or directory: '(?P<what3>(?:\S*/)?(?:relion_|mpi)\w+)'|Executable: (?P<what4>\S+)",
        "The program {what} is not there on the node where the job ran.",
        "Load RELION and its MPI before Snakemake starts or in the profile, and look with `which` on that "
        "node.",
    ),
    Fault(
        r"Unable to locate a modulefile for '(?P<what>[^'\n]+)'"
        r"|following module\(s\) are unknown: \"?(?P<what2>[^\"\n]+)",
        "The module {what} does not exist on the node where the job ran.",
        "Look with `module avail` what it is called there, and correct the profile.",
    ),
    Fault(
        r"mpirun was unable to (?:find|launch) the specified",
        "mpirun could not start the program: it is not there on one of the nodes.",
        "Load RELION before Snakemake starts or in the profile, and look with `which` on every node.",
    ),
    Fault(
        r"not enough slots available[^\n]*?satisfy the (?P<ranks>\d+)",
        "MPI was asked to start {ranks} ranks, more than there are cores for.",
        "Ask for as many tasks as the rule starts ranks, or start fewer; on one machine, `--oversubscribe` "
        "of mpirun lets ranks share cores.",
        RELION + "386",
    ),
    Fault(
        r"Number of MPI processes\s*= 1\n(?:.*\n){0,50}?.*Number of MPI processes\s*= 1$",
        "MPI started several programs of one rank each instead of one program of several ranks: this "
        "mpirun does not belong to the MPI that RELION was built with.",
        "Load the MPI that RELION was built with, so that `which mpirun` and `ldd $(which "
        "relion_refine_mpi)` name the same one; then start again.",
        RELION + "1004",
    ),
    Fault(
        r"at least 3 MPI processes are required",
        "A refinement with two half sets needs at least 3 MPI ranks (one that leads, one for each half), "
        "but was started with {ranks}.",
        "Give the rule at least 3 ranks, an odd number so that both halves get as many.",
        RELION + "777",
        detail=r"Number of MPI processes\s*= (?P<ranks>\d+)",
    ),
    Fault(
        r"at least 3 MPI processes are required",
        "A refinement with two half sets needs at least 3 MPI ranks (one that leads, one for each half), "
        "but was started with fewer.",
        "Give the rule at least 3 ranks, an odd number so that both halves get as many.",
        RELION + "777",
    ),
    Fault(
        r"number of MPI processes must be an odd number",
        "A refinement with two half sets needs an odd number of MPI ranks: one that leads, and as many for "
        "each half.",
        "Give the rule 3, 5 or 7 ranks.",
        RELION + "777",
    ),
    Fault(
        r"at least (?:two|2) MPI processes",
        "{program} was started with a single MPI rank, but its MPI version needs at least 2.",
        "Give the rule 2 ranks or more, or none to run it without MPI; if more were asked for, mpirun and "
        "RELION belong to different MPI installations.",
        RELION + "259",
    ),
    Fault(
        r"Cannot split data into random halves without using MPI",
        "A refinement with two half sets was started without MPI (`relion_refine` instead of "
        "`relion_refine_mpi`).",
        "Give the rule at least 3 MPI ranks.",
        RELION + "833",
    ),
    Fault(
        r"OMPI was not built with SLURM|PMI2?_Init failed|orte_init failed|PML add procs failed"
        r"|ompi_mpi_init",
        "MPI could not be set up: the launcher (mpirun or srun) and the MPI that RELION was built with do "
        "not fit.",
        "Start with the mpirun of the MPI that RELION was built with, or a RELION that was built with the "
        "cluster's MPI.",
        RELION + "1004",
    ),
    Fault(
        r"attempt to run as root",
        "Open MPI does not run as root.",
        "Run as an ordinary user; in a container, set OMPI_ALLOW_RUN_AS_ROOT=1 and "
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1.",
    ),
    Fault(
        r"No module named '(relion|torch)|external Python call",
        "RELION's Python part (Blush, which needs the conda environment relion-5.0 with torch) could not "
        "be run.",
        "Install or activate that environment where the job runs, or switch Blush off.",
        RELION + "1042",
    ),
    Fault(
        r"No module named '(?P<module>\w+)'",
        "The Python module {module} is missing in the environment that the job used.",
        "Install it there, or activate the environment where it is.",
        RELION + "1239",
    ),
    # -- the GPU
    Fault(
        r"CUDA driver version is insufficient|forward compatibility was attempted"
        r"|(?i:driver/library version mismatch)",
        "The node's NVIDIA driver is older than the CUDA that RELION was built with.",
        "Use a node with a newer driver (`nvidia-smi`), or a RELION built with an older CUDA.",
        RELION + "845",
    ),
    Fault(
        r"no CUDA-capable device|You have no GPUs compatible|no kernel image is available"
        r"|invalid device ordinal|issue with the GPU-ids|CUDA_ERROR_NO_DEVICE|No devices were found",
        "RELION found no GPU that it can use: the job was given none, a number that is not there, or one "
        "of a kind that this RELION was not built for.",
        "Ask for a GPU in the profile (`gpus_per_job: 1`) and look at `nvidia-smi` and CUDA_VISIBLE_DEVICES on the "
        "node; without any, run on CPUs.",
    ),
    Fault(
        r"CudaCustomAllocator out of memory|HipCustomAllocator out of memory"
        r"|[Yy]ou ran out of memory on the GPU|CUDA out of memory|out of memory in \S*(cu|acc|hip)\S*"
        r"|cudaErrorMemoryAllocation|cudaMalloc\w*.*(fail|memory)|GPU memory was insufficient",
        "The GPU ran out of memory{where}.",
        "Run one MPI rank per GPU and fewer threads, see with `nvidia-smi` that nobody else uses it, or "
        "choose a smaller box; the last iterations can go on without a GPU.",
        RELION + "1075",
    ),
    Fault(
        r"illegal memory access|unspecified launch failure|misaligned address|uncorrectable ECC error",
        "A calculation on the GPU crashed{where}.",
        "This often passes: start again and it continues. If it comes back on the same GPU, have it "
        "checked; on all, try without the GPU.",
        RELION + "859",
        "continue",
    ),
    Fault(
        r"KERNEL_ERROR|GPU-function failed to execute",
        "A calculation on the GPU failed{where}: this RELION was not built for this GPU, or the data lead "
        "to sizes that it cannot handle.",
        "Try another kind of GPU, or without; look above in the log for CUDA's own words.",
        RELION + "1293",
    ),
    # -- memory of the program
    Fault(
        r"corrupted (size vs\. prev_size|double-linked list)|double free or corruption"
        r"|malloc\(\): (invalid|corrupted)|free\(\): invalid|munmap_chunk|unaligned tcache"
        r"|unsorted double linked list",
        "RELION damaged its own memory{where}: a known fault of relion_refine_mpi when it combines the "
        "halves' sums over MPI.",
        "Continue the run; if it fails again, combine the iterations through disc (leave out "
        "--dont_combine_weights_via_disc).",
        RELION + "1308",
        "combine_via_disc",
    ),
    Fault(
        r"std::bad_alloc",
        "{program} ran out of memory: it wanted {gb} GB for the sums alone, and more with every outer "
        "thread.",
        "Use a smaller box or fewer outer threads (`--j_out`), or give the job more memory.",
        RELION + "977",
        "fewer_threads",
        detail=r"Memory required for accumulation: (?P<gb>[\d.]+) GB",
    ),
    Fault(
        r"std::bad_alloc|Cannot allocate memory|Error in askMemory|[Aa]llocate: [Nn]o space left"
        r"|issue allocating CPU memory|ERROR: out of memory|MemoryError",
        "{program} ran out of memory{where}.",
        _FEWER_RANKS,
        RELION + "977",
        "fewer_threads",
    ),
    # -- files that are not there, or not what they should be
    Fault(
        r"Cannot read file (?P<file>[^\n]+?) It does not exist",
        "The half map {file} does not exist, so postprocessing has nothing to compare.",
        "Make both half maps first (Refine3D, or a reconstruction of particles that have half sets: "
        "rlnRandomSubset).",
        detail=r"half1-map:",
    ),
    Fault(
        r"Cannot read file (?P<file>[^\n]+_(?:stack2d|data|weights)\.mrcs?) It does not exist",
        "The extracted particle {file} does not exist: the particles' STAR file names an image that is not "
        "there.",
        "Extract the particles again (`stacycle redo results/ROUND/extract`), or use the STAR file "
        "that belongs to the images.",
    ),
    Fault(
        r"Cannot read file (?P<file>[^\n]+\.(?:mrcs|st|ali)) It does not exist",
        "The tilt images {file} do not exist.",
        "Correct their path in the tilt series' STAR file (relative to the project folder), or link the "
        "folder there; refinements look for them as well.",
        "https://github.com/3dem/relion/pull/1352",
    ),
    Fault(
        r"Cannot read file (?P<file>[^\n]+?) It does not exist",
        "The map {file} (reference or mask) does not exist.",
        "Run the step that makes it, or correct its path, which counts from the project folder.",
        program=r"refine|mask|postprocess|align",
    ),
    Fault(
        r"Cannot read file (?P<file>[^\n]+?) It does not exist|openFile cannot open: (?P<file2>[^\n]+)",
        "The file {file} does not exist or cannot be opened.",
        "Correct its path, which counts from the project folder, or make it again.",
    ),
    Fault(
        r"File (?P<file>[^\n]*tilt[^\n]*\.star) does not exist",
        "The tilt series' STAR file {file} does not exist, although the tomograms' STAR file names it.",
        "Correct rlnTomoTiltSeriesStarFile in tomograms.star; paths count from the project folder.",
    ),
    Fault(
        r"File (?P<file>[^\n]+?) does not exist|[Uu]nable to read:? (?P<file2>\S+)",
        "The STAR file {file} does not exist or cannot be read.",
        "Run the step that makes it, or correct the path where it is named (the command, the optimisation "
        "set or tomograms.star); it counts from the project folder.",
    ),
    Fault(
        r"error in reading header of image (?P<file>[^\n]+)",
        "The image file {file} is damaged or was cut short: it has no whole MRC header.",
        "Delete it and run the step that makes it again.",
        RELION + "688",
    ),
    Fault(
        r"Image number (?P<number>\d+) exceeds stack size (?P<size>\d+) of image (?P<file>[^\n]+)",
        "The stack {file} holds {size} images, but image {number} was asked for: stack and STAR file do "
        "not belong together, or the stack was overwritten or cut short.",
        "Extract the particles again and use the STAR file that this makes.",
        RELION + "273",
    ),
    Fault(
        r"unsupported MRC mode (?P<mode>-?\d+)",
        "An image file is not an MRC file that RELION reads (its header says mode {mode}): it is damaged "
        "or of another format.",
        "Make that file again, or convert it.",
        RELION + "1244",
    ),
    Fault(
        r"does not support CR\+LF",
        "A STAR file has Windows line ends (it was edited on Windows), which RELION does not read.",
        "Convert it with `dos2unix FILE`.",
    ),
    Fault(
        r"STAR file contains (?P<how>more|fewer) columns than the number of labels",
        "A row of a STAR file has {how} values than its table has columns; RELION shows that row above its "
        "error.",
        "Look for a blank inside a name, a label listed twice, or a file that was cut short.",
        RELION + "849",
    ),
    # -- data that do not fit together
    Fault(
        r"rlnTomoTiltSeriesPixelSize missing from optics",
        "Not one particle belongs to a tomogram of tomograms.star, or the particles' optics table has no "
        "rlnTomoTiltSeriesPixelSize; RELION says only the latter.",
        "Compare rlnTomoName in both files letter by letter, and look at the optics table.",
        "https://github.com/Chromatin-Structure-Rhythms-Lab/ChlamyAnnotations/issues/23",
    ),
    Fault(
        r"Cannot find particle coordinates",
        "The particles' STAR file has no coordinates that RELION 5 reads.",
        "Give rlnCenteredCoordinateXAngst, ..YAngst and ..ZAngst (Å from the tomogram's centre), or "
        "rlnCoordinateX, Y and Z (pixels).",
    ),
    Fault(
        r"tomogram name \"(?P<name>[^\n\"]+)\" in the input star|No tomogram named '(?P<name2>[^\n']+)'",
        "The particles name the tomogram {name}, which is not in tomograms.star.",
        "Compare rlnTomoName in both files letter by letter.",
    ),
    Fault(
        r"no particles found that belong to any of the defined tomograms",
        "Not one particle belongs to a tomogram of tomograms.star.",
        "Compare rlnTomoName in both files letter by letter.",
    ),
    Fault(
        r"Label (?P<label>rln\w+) not present|\((?P<label2>rln\w+)\) is missing from"
        r"|contain a (?P<label3>rln\w+) label",
        "A STAR file lacks the column {label}, which RELION needs.",
        "Use the STAR file that the step before wrote, unchanged; CTF values come from the tilt series' "
        "preprocessing.",
        RELION + "1053",
    ),
    Fault(
        r"cannot find name for particle",
        "The particles have no images yet: these are picks, not particles that were extracted.",
        "Give the refinement the STAR file or optimisation set that the extraction wrote.",
        RELION + "886",
    ),
    Fault(
        r"there are no particles in (?P<file>[^\n]+)",
        "There is no particle in {file}.",
        "Look at the step before (a selection that kept nothing?), and see that the table is called "
        "data_particles.",
        "https://github.com/SBC-Utrecht/pytom-match-pick/issues/214",
    ),
    Fault(
        r"reference pixel size is (?P<reference>\S+) A/px, but the pixel size of the first optics group "
        r"of the data is (?P<data>\S+) A/px!\s*\n(?:[^\n]*box size[^\n]*\n)?If you want",
        "The reference has a pixel size of {reference} Å, but the particles have {data} Å.",
        "Use a reference that was made at the particles' binning; if only its header is wrong, correct "
        "that; or let RELION rescale it (--trust_ref_size).",
        "https://github.com/SBC-Utrecht/pytom-match-pick/issues/253",
    ),
    Fault(
        r"reference box size is (?P<reference>\d+) px, but the box size of the first optics group of the "
        r"data is (?P<data>\d+) px!\s*\n?If you want",
        "The reference has a box of {reference} px, but the particles have {data} px.",
        "Use a reference that was made at the particles' binning and box, or let RELION re-box it "
        "(--trust_ref_size).",
        "https://github.com/SBC-Utrecht/pytom-match-pick/issues/253",
    ),
    Fault(
        r"mask and reference have different sizes \((?P<mask>\d+)x[\dx]+ and (?P<map>\d+)x",
        "The mask has a box of {mask} px, but the half maps have {map} px.",
        "Make the mask from a map with the half maps' box and pixel size.",
    ),
    Fault(
        r"mask and input maps do not have the same size",
        "Postprocessing got a mask with a box of {mask} px for half maps of {map} px.",
        "Make the mask from a map with the half maps' box and pixel size.",
        detail=r"input mask:\s+Size\(Z,Y,X\): (?P<mask>\d+)x.*\n.*input maps:\s+Size\(Z,Y,X\): (?P<map>\d+)x",
    ),
    Fault(
        r"mask and input maps do not have the same size"
        r"|[Ss]olvent mask (?:does not have the same size|is of incorrect)"
        r"|half maps and the mask is not the same",
        "The mask and the maps do not have the same box.",
        "Make the mask from a map with the same box and pixel size.",
    ),
    Fault(
        r"mask values not in range|[Ss]olvent mask should (?:contain values|be) between"
        r"|values outside the range \[0,1\]",
        "The mask has values outside 0 to 1, so it is no mask: perhaps a map was given.",
        "Make it with the mask step (relion_mask_create).",
    ),
    Fault(
        r"(?:half reconstructions|reference maps) (?:are not of the same size|have different sizes)",
        "The two half maps do not have the same box.",
        "Take both from the same reconstruction or refinement.",
    ),
    Fault(
        r"[Ii]ncompatible image sizes|different shapes \("
        r"|reference image is not the same as the experimental|unequal image dimensions"
        r"|incorrect (?:reconstruct_)?image size",
        "Maps or images of different box sizes came together{where}; the ERROR sentence in the log says "
        "which.",
        "Compare the boxes of reference, mask and particles (rlnImageSize), and the sizes of the tilt "
        "images.",
        "https://github.com/warpem/warp/issues/348",
    ),
    Fault(
        r"does not contain 'half1' or 'half2'",
        "Postprocessing finds the second half map by its name, and this name has neither 'half1' nor "
        "'half2' in it.",
        "Rename the maps to ..half1.. and ..half2...",
    ),
    Fault(
        r"getHalfSet was called without having halfsets",
        "The particles do not belong to half sets (no rlnRandomSubset), which CTF refinement and polishing "
        "need.",
        "Use the particles of a Refine3D, which splits them.",
    ),
    Fault(
        r"half sets has no segments|random subset values are zero and others are not"
        r"|invalid number for random subset",
        "One of the two half sets is empty, or some particles belong to none (rlnRandomSubset).",
        "Use the particles of one Refine3D, unchanged, or remove the column rlnRandomSubset so that they "
        "are split anew.",
        RELION + "521",
    ),
    Fault(
        r"more than 1 reference\.\.\. You could first classify",
        "A refinement with half sets takes one reference only, but several classes were asked for.",
        "Classify first, then refine each class by itself.",
    ),
    # -- the numbers
    Fault(
        r"zero sum of weights",
        "No orientation fits particle {part} at all{where} (its weights sum to zero): the noise is "
        "estimated far too low, the reference is on another greyscale, or the local search leaves nothing "
        "to choose from.",
        "Search more widely (larger angles and offsets), use --firstiter_cc if the reference is not from "
        "these particles, and remove outliers.",
        RELION + "991",
        detail=r"part_id= (?P<part>\d+)",
    ),
    Fault(
        r"zero sum of weights|No orientation was found as better|sum of weights for all orientations was"
        r"|number of contributing orientations|extra-precision fallbacks too many times"
        r"|(?:diff2|weight) is not a number",
        "No orientation fits a particle better than any other{where}: its image, the reference or the mask "
        "holds nonsense (NaN, all zero), or it is damaged.",
        "Look at the reference, the mask and the last iteration's map; extract the particles again if a "
        "stack was cut short, and remove empty ones.",
        RELION + "693",
    ),
    Fault(
        r"unexpectedly small, yet non-zero sigma2",
        "The noise estimate broke down{where}: particles are not normalised, a group is empty, or pixel "
        "sizes disagree.",
        "Compare the pixel sizes in the optics table, the reference and the mask, and extract the "
        "particles again.",
        RELION + "1191",
    ),
    Fault(
        r"rlnMicrographScaleCorrection is very high|Very small or very big \(avg\) normcorr",
        "The particles' greyscale differs wildly{where}: they are not normalised, or some are damaged.",
        "Extract them again and remove outliers.",
        RELION + "848",
    ),
    Fault(
        r"Zero orientations fall within the local angular search",
        "The local search is so narrow that no orientation falls into it{where}.",
        "Use a larger range (--sigma_ang) or a finer sampling.",
    ),
    Fault(
        r"FSC curve never drops below randomize_fsc_at",
        "The FSC between the two half maps never falls below 0.8: the same map twice, half sets that share "
        "particles, or maps that are good up to the last shell.",
        "See that the half maps are from two different half sets; if they are, postprocess at a smaller "
        "binning.",
    ),
    Fault(
        r"translate only valid for 2D or 3D arrays|do_also_imagedata|should always use parallel disc I/O",
        "Subtomograms can only be refined with parallel disc I/O.",
        "Leave out --no_parallel_disc_io.",
        RELION + "951",
    ),
    Fault(
        r"Empty MultidimArray",
        "RELION met an image or map without content{where}.",
        "Look for an empty class in the last iteration, and for particles seen in no tilt.",
        RELION + "982",
    ),
    Fault(
        r"Error in textTo(?:Integer|Float|Double|Long)",
        "{program} got a word where one of its options wants a number.",
        "Look at the command in job.json: an empty variable (such as $TMPDIR) swallows the option after it.",
    ),
    Fault(
        r"(?:ERROR: )?Argument (?P<flag>\S+) not found or invalid argument",
        "{program} got no value, or not a valid one, for its option {flag}.",
        "Look at the command in job.json: an empty variable (such as $TMPDIR) swallows the option after it.",
    ),
)

ENDINGS = (
    Fault(
        r"exited on signal 15|RELION_JOB_ABORT_NOW|RELION_JOB_EXIT_ABORTED|^Terminated",
        "{program} was told to stop from outside (TERM signal){where}: the wall time was over, or somebody "
        "cancelled it.",
        _CONTINUE,
        signal=15,
    ),
    Fault(
        r"exited on signal 2\b",
        "{program} was interrupted from the keyboard{where}.",
        _CONTINUE,
        signal=2,
    ),
    Fault(
        r"exited on signal 1\b|^Hangup",
        "{program} ended with the terminal or connection that it was started from{where}.",
        "Start Snakemake in tmux or screen, or submit it to the batch system; then start again: it continues.",
        signal=1,
    ),
    Fault(
        r"exited on signal 24\b|CPU time limit exceeded",
        "{program} used up its limit of CPU time{where}.",
        "Ask for more time, or run where `ulimit -t` sets no limit; then start again: it continues.",
        signal=24,
    ),
    Fault(
        r"exited on signal 25\b|File size limit exceeded|File too large",
        "A file grew larger than this machine or file system allows{where}.",
        "Raise the limit (`ulimit -f unlimited`), or write to another file system.",
        signal=25,
    ),
    Fault(
        r"exited on signal 9\b|KILLED BY SIGNAL: 9|\bKilled\b",
        "{program} was killed from outside{where}: nearly always because the machine or the job ran out of "
        "memory.",
        _FEWER_RANKS,
        RELION + "867",
        "fewer_threads",
        signal=9,
    ),
)

CRASHES = (
    Fault(
        r"exited on signal 7\b|Bus error",
        "{program} lost a piece of memory or of a file while it used it{where} (bus error): a file changed "
        "or the file server failed, or /dev/shm is full.",
        "This often passes: start again and it continues. If not, look at `df -h /dev/shm` and at the disk.",
        retry="continue",
        signal=7,
    ),
    Fault(
        r"exited on signal 4\b|Illegal instruction",
        "{program} was built for another kind of processor than this node has (illegal instruction).",
        "Run it on the kind of node that it was built on, or build it for the oldest one.",
        signal=4,
    ),
    Fault(
        r"exited on signal 11\b|\(signal 11\)|Signal: Segmentation fault|Segmentation fault",
        "{program} crashed{where} (segmentation fault). Known reasons: particles that are seen in no tilt, "
        "more MPI ranks than the particles fill, too little memory.",
        "Run `snakemake preflight`, which looks for such particles; then try 3 MPI ranks and more memory.",
        RELION + "1181",
        signal=11,
    ),
    Fault(
        r"Transport retry count exceeded|readv failed: Connection|Connection reset by peer"
        r"|Connection timed out",
        "The MPI ranks lost the network connection to one of them{where}.",
        "Start the run again: it continues. If it is always the same node, tell who runs the cluster.",
        retry="continue",
    ),
    Fault(
        r"exited on signal 6\b|Signal: Aborted",
        "{program} gave up{where} (abort) without saying why; most often its memory or the disk was full.",
        "Look how much memory the job was given and used, and at `df -h .`; then start again.",
        signal=6,
    ),
    Fault(
        r"exited on signal 8\b|Floating point exception",
        "{program} divided by zero{where}.",
        "Look for an empty class, a map of zeros or a pixel size of 0 in its inputs.",
        signal=8,
    ),
)

WARNINGS = (
    Fault(
        r"undefined tomograms: (?P<names>[^\n]+)",
        "Particles of tomograms that tomograms.star does not describe were left out: {names}.",
        "Add these tomograms to tomograms.star, or correct rlnTomoName in one of the two files.",
    ),
    Fault(
        r"Option (?P<flag>--?\S+)\s+is not a valid RELION argument",
        "{program} does not know the option {flag} and ignored it.",
        "Correct its spelling, or load the version of RELION that knows it (`--help` lists the options).",
    ),
    Fault(
        r"compiled without CUDA|compiled without HIP",
        "A GPU was asked for, but this RELION was built without GPU support and ran on CPUs, much more "
        "slowly.",
        "Load a GPU build of RELION, or ask for no GPU.",
        RELION + "315",
    ),
    Fault(
        r"^(?:# \S+ )?\$ .*--gpu\b.*\n(?:(?!.*mapped to device).*\n){0,200}?.*Running CPU instructions",
        "A GPU was asked for, but RELION used none and ran on CPUs, much more slowly.",
        "Load a GPU build of RELION, and see with `nvidia-smi` that the job has a GPU.",
    ),
    Fault(
        r"cannot use accelerators \(like the GPU\) when skipping alignments",
        "A classification without alignment does not use the GPU; RELION ran it on CPUs.",
        "Ask for no GPU for this step.",
    ),
    Fault(
        r"solvent mask box size: (?P<mask>\d+) is not the same as the reference box size: (?P<map>\d+)",
        "The mask has a box of {mask} px, the reference {map} px; RELION cut or padded the mask and went "
        "on, so it may lie wrongly.",
        "Make the mask from a map with the reference's box and pixel size.",
    ),
    Fault(
        r"solvent mask pixel size: (?P<mask>\S+)",
        "The mask's pixel size ({mask} Å) is not the reference's; RELION rescaled the mask and went on.",
        "Make the mask from a map with the reference's box and pixel size.",
    ),
    Fault(
        r"solvent mask minimum: (?P<low>\S+) or maximum: (?P<high>\S+) are outside",
        "The mask has values from {low} to {high} instead of 0 to 1; RELION clipped them and went on.",
        "Make the mask with the mask step (relion_mask_create).",
    ),
    Fault(
        r"(?P<number>\d+) particles were removed because they were too close to the edge",
        "{number} particles were left out, as no tilt image shows their whole box.",
        "If that is nearly all of them, their coordinates are not centred, or not in Å.",
        "https://github.com/SBC-Utrecht/pytom-match-pick/issues/254",
    ),
    Fault(
        r"have no rlnRandomSubset to specify halfsets",
        "The particles have no half sets (rlnRandomSubset), so no half maps were made.",
        "Use the particles of a Refine3D where half maps are needed.",
    ),
    Fault(
        r"scratch space full on (?P<host>\S+?)\. Remaining (?P<number>\d+) particles",
        "The scratch disk of {host} is full: {number} particles are read from where they were, more slowly.",
        "Use a larger scratch folder (`engine: {{scratch: ...}}`) or none, and delete what earlier runs "
        "left in relion_volatile/.",
        RELION + "529",
    ),
    Fault(
        r"Using tau2_fudge of (?P<tau>\S+), which will lead to inflated",
        "A T of {tau} in a refinement inflates the resolution that it reports.",
        "Leave T at its default there; only postprocessing gives the resolution.",
    ),
    Fault(
        r"^ Oversampling= 0 NrHiddenVariableSamplingPoints= (?P<classes>[1-9]\d\d+)\n "
        r"OrientationalSampling= \S+ NrOrientations= 1\n TranslationalSampling= \S+ NrTranslations= 1$",
        "RELION classified into {classes} classes without alignment and reported no fault; with few "
        "particles most of so many classes stay empty.",
        "Take fewer classes, so that each gets at least some tens of particles; preflight compares the "
        "numbers.",
    ),
    Fault(
        r"gs: (?:command )?not found|ERROR in executing: gs |empty PDF-file|Ghostscript.*[Ee]rror",
        "Ghostscript (`gs`) is missing or broken, so logfile.pdf is empty; maps and STAR files are not "
        "touched by that, but RELION 5.1 exits with an error.",
        "Install Ghostscript where the job runs if you want the PDF.",
        "https://github.com/bioconda/bioconda-recipes/issues/68838",
    ),
)

NO_FAULT = Diagnosis(
    "The log shows no fault.",
    "RELION does not tell everything: stacycle looks for stacks that were cut short before a program starts, "
    "and at what it made when it has ended; if a run stopped here, see the log of the rule and "
    "`snakemake preflight`.",
    kind="none",
)


def explain(program: str, exit_status: int | None, lines: Sequence[str]) -> Diagnosis:
    """Why `program` ended as it did: its exit status (None if not known) and the clean lines of its log.

    A negative status is a signal, as is one above 128. There is always an answer: without a known fault, it is
    RELION's own ERROR sentence or the log's last words (`kind` "unknown"); if all went well, that.
    """
    text = "\n".join(line[:LONGEST_LINE] for line in lines if not HARMLESS.search(line))
    text = MENDED.sub("", text)
    sentence = error_sentence(text.split("\n"))
    signal = _signal(exit_status)
    context = (program or "The program", _where(text))
    warning = _by_words(WARNINGS, text, program, context)
    if warning and not exit_status:
        warning = replace(warning, kind="warning")
    if exit_status == 0 and not sentence:
        return warning or NO_FAULT
    return (
        _from_outside(_by_words(OUTSIDE, text, program, context))
        or _by_words(FAULTS, text, program, context)
        or _from_outside(_by_signal(ENDINGS, text, signal, context))
        or (_unknown(sentence) if sentence else None)
        or _by_signal(CRASHES, text, signal, context)
        or warning
        or (_unknown(_last_words(text, exit_status)) if exit_status else NO_FAULT)
    )


def error_sentence(lines: Sequence[str]) -> str | None:
    """What a program gives as its error, which MPI, backtraces and C++ may talk over; None if nothing."""
    words = [line.strip() for line in lines if not line.startswith(("==", "--"))]
    for line, after in pairwise([*words, ""]):
        if line == "ERROR:" and after not in ("", "ERROR:"):
            return after.removeprefix("ERROR: ")
        if line.startswith("ERROR: "):
            return line.removeprefix("ERROR: ")
    return None


def _by_words(faults: Iterable[Fault], text: str, program: str, context: tuple[str, str]) -> Diagnosis | None:
    for fault in faults:
        if re.search(fault.program, program) and (words := fault.words(text)) is not None:
            return fault.diagnosis(*context, words)
    return None


def _by_signal(
    faults: Iterable[Fault], text: str, signal: int | None, context: tuple[str, str]
) -> Diagnosis | None:
    for fault in faults:
        words = fault.words(text)
        if words is not None or (signal is not None and signal == fault.signal):
            return fault.diagnosis(*context, words or {})
    return None


def _from_outside(found: Diagnosis | None) -> Diagnosis | None:
    return found and replace(found, kind="outside")


def _unknown(cause: str) -> Diagnosis:
    cause = cause.rstrip()
    return Diagnosis(
        cause if cause.endswith((".", "!", "?")) else f"{cause}.",
        "This fault is not one that stacycle knows: read the lines above it in the log, and search for its "
        "words at https://github.com/3dem/relion/issues.",
        kind="unknown",
    )


def _last_words(text: str, exit_status: int) -> str:
    words = " | ".join(line.strip() for line in text.split("\n")[-3:])
    how = f"It gave no reason (exit status {exit_status})"
    return f"{how}; its last words were: {words}" if words else f"{how}, and said nothing"


def _signal(exit_status: int | None) -> int | None:
    """The signal that an exit status stands for: -N from Python, 128 + N from a shell."""
    if exit_status is None or 0 <= exit_status <= 128:
        return None
    return -exit_status if exit_status < 0 else exit_status - 128


def _where(text: str) -> str:
    """How far the program had come: its iteration or tomogram."""
    if found := re.findall(r"Expectation iteration (\d+(?: of \d+)?)", text):
        return f" in iteration {found[-1]}"
    if found := re.findall(r"\+ Tomogram (\d+) / (\d+)", text):
        return " at tomogram {} of {}".format(*found[-1])
    return ""


@cache
def _compiled(sign: str) -> re.Pattern[str]:
    return re.compile(sign, re.MULTILINE)
