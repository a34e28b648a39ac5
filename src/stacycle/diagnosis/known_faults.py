"""The known faults: what a log shows of each, its cause and its cure, in plain sentences.

Data only: `stacycle.diagnosis.explain` looks them up. Most tables have the most specific entry first:

- `OUTSIDE`: the machine, the queue or a person ended the program; data and settings are not to blame.
- `UNMET`: something that the program needs is missing: libraries, MPI, Python modules. The log may say so anywhere
  before the error that follows from it.
- `FAULTS`: RELION's own error sentences. `tests/relion_sentences.py` counts how many of RELION's are here.
- `VAGUE`: words that say that something broke, not what. Any other fault in the log comes first.
- `ENDINGS`, `CRASHES`: known by the signal that ended the program.
- `WARNINGS`: faults at which RELION goes on and exits 0.

Wording: from RELION 5.0.1's checks, seen in its failures, or in the thread that is linked.
"""

from __future__ import annotations

from dataclasses import dataclass

RELION = "https://github.com/3dem/relion/issues/"


@dataclass(frozen=True)
class Fault:
    """One known fault. `sign` is a pattern in the log.

    `detail` is one more, if it must be there too: its last place counts. The named groups of both, {where} and
    {program} fill the sentences; a group file2 is another place to find {file}. `link` is where the fault is known,
    `retry` what may cure it by itself (see `explain.Diagnosis`).
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


_FEWER_RANKS = (
    "Give the job more memory, or run it with fewer MPI ranks or threads per node; a smaller box helps most "
    "(memory grows with its cube)."
)
_CONTINUE = "Nothing is lost but this iteration or tomogram: start the run again and it continues."
_AGAIN_FROM_BEFORE = (
    "Start the run again: it continues from its last whole iteration. If the same comes back, delete that "
    "iteration's files (run_it..) in the job's folder, so that it goes on from the one before."
)
_ANEW = "Make it anew: `stacycle redo` with the job's folder."
_EXTRACT = "Extract the particles again (`stacycle redo results/ROUND/extract`)."
_STACK_NAME = (
    "Give the stacks a name that ends in .mrcs (a link will do: `ln -s TS_01.ali TS_01.mrcs`), and correct it in the "
    "tilt series' STAR files (rlnMicrographName) or in tomograms.star (rlnTomoTiltSeriesName)."
)
_ONE_CUBE = "Look at it with `header`; cut or pad it to a cube with an even number of pixels along each side."
_MAKE_TILTS = (
    "Give the motion-corrected tilt images as .mrc files, or the tilt series as a stack that ends in .mrcs."
)
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
        r"(?:Cannot|cannot|unable to) write (?:to )?(?:file: ?)?(?P<file>\S+)(?!.* - empty stack)",
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
    Fault(
        r"ZIO::\w+: unable to create directory:? (?P<file>[^\n]+)",
        "The folder {file} could not be made{where}.",
        "See that the folder above it exists and belongs to you, and whether the disk or your quota is full.",
    ),
    Fault(
        r"Filename::touch ERROR: Cannot open file: (?P<file>[^\n]+)"
        r"|File (?P<file2>\S+) opened in read-only mode|Distribution: cannot open (?P<file3>\S+)",
        "The file {file} could not be written{where}.",
        "Look whether its folder exists and belongs to you, and whether the disk or your quota is full.",
    ),
    Fault(
        r"Cannot replace object number: \d+ in file (?P<file>[^\n]+?)\. It does not exist",
        "The file {file} disappeared while it was written{where}: another job or person removed it, or its folder.",
        "See that nothing else writes to or cleans that folder, then start again.",
    ),
    Fault(
        r"(?:cannot execute|ERROR in executing|there was something wrong with system call):\s+"
        r"(?P<file>(?:rm|install|chmod|mkdir|cp|mv)\b[^\n]+)",
        "The command `{file}` failed: the scratch folder is not there, is full, or does not belong to you.",
        "Look at it on the node that ran the job (`ls -ld`, `df -h`), and correct `engine: {{scratch: ...}}`; "
        "null is no scratch.",
    ),
)

UNMET = (
    Fault(
        r"Host key verification failed|ssh: connect to host|unable to reliably start one or more daemons"
        r"|ORTE does not know how to route|orted: command not found|prted: command not found",
        "MPI could not start its ranks on another node.",
        "Keep the job on one node (`nodes: 1` in the profile), or start it with the batch system's launcher (srun); "
        "ask who runs the cluster how MPI is started across nodes.",
    ),
    Fault(
        r"would result in binding more processes than|not enough processors to bind",
        "MPI was asked to bind more ranks to cores than the job has cores.",
        "Ask for as many cores as ranks times threads, or start with `--bind-to none`.",
        RELION + "386",
    ),
    Fault(
        r"More processors requested than permitted|Requested node configuration is not available"
        r"|Unable to create step for job[^\n]*(?:nodes are busy|More processors)",
        "SLURM refused to start as many ranks as were asked for: the job was given fewer tasks, or its cores are "
        "taken.",
        "Ask for as many tasks as the rule starts ranks, and for threads with `cpus_per_task`.",
    ),
    Fault(
        r"libgomp: Thread creation failed|pthread_create[^\n]*(?:failed|unavailable)|OMP: Error #3[45]"
        r"|fork[^\n]*: Resource temporarily unavailable",
        "A thread or process could not be started{where}: your limit of processes on this machine is used up.",
        "Use fewer ranks and threads, end what you left running there, or raise the limit (`ulimit -u`).",
    ),
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
        r"|No such file or directory: '(?P<what3>(?:\S*/)?(?:relion_|mpi)\w+)'|Executable: (?P<what4>\S+)"
        r"|execve\(\): (?P<what5>\S+): No such file",
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
        r"not enough slots available[\s\S]{0,80}?satisfy the (?P<ranks>\d+)",
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
        r"No module named '(relion|torch)",
        "RELION's Python part (Blush, which needs the conda environment relion-5.0 with torch) could not "
        "be run.",
        "Install or activate that environment where the job runs, or switch Blush off.",
        RELION + "1042",
    ),
    Fault(
        r"No module named '(?P<module>\w*tomography\w*)'|Has RELION been provided a Python interpreter",
        "RELION's Python part cannot be run: the Python that this RELION was built to use has not the modules that it "
        "needs.",
        "Build RELION with `-DPYTHON_EXE_PATH=` the Python of its conda environment relion-5.0, or activate that "
        "environment where the job runs.",
        RELION + "1239",
    ),
    Fault(
        r"No module named '(?P<module>\w+)'",
        "The Python module {module} is missing in the environment that the job used.",
        "Install it there, or activate the environment where it is.",
        RELION + "1239",
    ),
    Fault(
        r"Failed to dispatch command: (?P<what>[^\n]+)",
        "RELION could not start another program ({what}), for want of memory or processes.",
        "Give the job more memory, or use fewer MPI ranks; see `ulimit -u`.",
    ),
)

FAULTS = (
    # -- MPI ranks
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
        r"Gradient refinement is not supported together with MPI",
        "An initial model (gradient refinement) was started on several MPI ranks; it runs on one only.",
        "Run it with one rank (`relion_refine` instead of `relion_refine_mpi`) and more threads.",
    ),
    # -- the GPU
    Fault(
        r"unsupported toolchain|PTX was compiled with|\(error-code 222\)",
        "The node's NVIDIA driver is older than the CUDA that RELION was built with (CUDA: unsupported PTX); another "
        "GPU with that driver does not help.",
        "Build RELION with the CUDA version that `nvidia-smi` shows, or an older one, or have the driver updated.",
        RELION + "1030",
    ),
    Fault(
        r"all CUDA-capable devices are busy|device\(s\) is/are busy|exclusive-process|\(error-code 46\)",
        "The GPU is taken by another program, and admits one at a time (its exclusive mode).",
        "Ask for a GPU of its own in the profile, one MPI rank per GPU, and see with `nvidia-smi` who uses it.",
    ),
    Fault(
        r"no kernel image is available|invalid device function|device kernel image is invalid|invalid PTX"
        r"|invalid resource handle"
        r"|named symbol not found|\(error-code (?:98|200|209|218|500)\)",
        "This RELION was not built for the kind of GPU that the job was given{where}.",
        "Run on a GPU of the kind that it was built for, or build RELION with that kind's CUDA_ARCH.",
        RELION + "1293",
    ),
    Fault(
        r"(?:system not yet initialized|initialization error|unknown error)[^\n]*\(error-code"
        r"|\(error-code (?:3|802|999)\)",
        "The GPU's driver does not answer as it should: CUDA could not begin.",
        "Try `nvidia-smi` on that node. If it fails too, the node must be mended (the driver loaded again, or a "
        "restart); meanwhile run on another.",
    ),
    Fault(
        r"launch timed out|\(error-code (?:6|702)\)",
        "A calculation on the GPU was stopped for taking too long{where}: the GPU drives a display too.",
        "Use a GPU without a display; start again and it continues.",
    ),
    Fault(
        r"fallen off the bus|hardware stack error|Uncorrectable NVLink|\(error-code (?:214|226|714)\)",
        "The GPU's hardware failed{where}.",
        "Start again on another GPU: it continues; tell who runs the machine.",
        retry="continue",
    ),
    Fault(
        r"too many resources requested for launch|invalid configuration argument|\(error-code (?:7|9|701)\)",
        "A calculation on the GPU failed{where}: it asks for more at once than this GPU can do, as with a very large "
        "search or box.",
        "Use smaller offset ranges or a coarser sampling, a smaller box, or run on another kind of GPU or on CPUs.",
        RELION + "1293",
    ),
    Fault(
        r"failed to create (?:cu|hip)fft plan|failed to exec fft|CUFFT_ALLOC_FAILED|Cufft error in file",
        "The GPU could not do a Fourier transform of the reference{where}, most often because its memory is full.",
        "Run one MPI rank per GPU, see with `nvidia-smi` that nobody else uses it, or choose a smaller box.",
        RELION + "1075",
    ),
    Fault(
        r"sem(?:get|op)(?: un)?(?: lock|lock)? error",
        "RELION's processes could not take turns on a GPU: the system's semaphores are used up, or left over from "
        "another user's run.",
        "List them with `ipcs -s` on that node and remove your old ones with `ipcrm`; others' only their owners or "
        "root can.",
    ),
    Fault(
        r"GPU usage requested, but RELION was compiled without",
        "A GPU was asked for, but this RELION was built without GPU support.",
        "Load a GPU build of RELION, or ask for no GPU.",
        RELION + "315",
    ),
    Fault(
        r"coarse translations larger than (?P<most>\d+)[^\n]*not supported",
        "The search tries more offsets than RELION can on a GPU ({most}).",
        "Choose a smaller `offset_range` or a larger `offset_step` for this step, or run it without a GPU.",
    ),
    Fault(
        r"unexpectedly large number of translations",
        "The search tries more offsets than RELION can on a GPU.",
        "Choose a smaller `offset_range` or a larger `offset_step` for this step, or run it without a GPU.",
    ),
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
    # -- memory of the program
    Fault(
        r"allocation size requested is zero|[Cc]annot allocate a negative number of bytes",
        "An image that was read has no pixels, or a size below zero{where}: a file's header is damaged, or the file is "
        "cut short.",
        "Look for empty files among the particles' images, the tilt series and the maps (`find . -name '*.mrc*' -size "
        "-2k`, `header`), and make them again.",
    ),
    Fault(
        r"FFTW plans cannot be created|Multithreaded FFTW failed",
        "{program} could not prepare a Fourier transform{where}: its memory is full, or an image has no pixels.",
        _FEWER_RANKS,
    ),
    Fault(
        r"allocation failure (?:in vector|\d in matrix)|Failed to allocate a memory block",
        "{program} ran out of memory{where}.",
        _FEWER_RANKS,
        RELION + "977",
        "fewer_threads",
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
        r"Invalid Spider file:\s+(?:\d+@)?(?P<file>[^\n]+)",
        "RELION took the image file {file} for one in SPIDER's format, because it does not know how its name ends, "
        "and it is none.",
        _STACK_NAME,
        RELION + "270",
    ),
    Fault(
        r"rwSPIDER: cannot allocate memory for header",
        "An image file is too short for its header, or RELION took it for one in SPIDER's format because it does not "
        "know how its name ends.",
        f"See that the tilt images are whole. {_STACK_NAME}",
        RELION + "270",
    ),
    Fault(
        r"stacks of images in MRC-format should have extension \.mrcs",
        "An image of a stack (number@name) was asked for whose name ends in .mrc; RELION reads stacks only if they end "
        "in .mrcs or .st.",
        _STACK_NAME,
    ),
    Fault(
        r"Image<T>::read: filename has no ending \((?P<file>[^\n)]*)\)",
        "The image file {file} has a name without an ending, so that RELION cannot tell its format.",
        _STACK_NAME,
    ),
    Fault(
        r"trying to read image with empty file name",
        "RELION was to read an image whose name is empty{where}.",
        "Look for an empty name in the STAR files (rlnImageName, rlnMicrographName, rlnTomoTiltSeriesName) and in the "
        "command in job.json.",
    ),
    Fault(
        r"The Digital Micrograph format \(DM3, DM4\) is not supported",
        "An image is in Digital Micrograph's format (.dm3, .dm4), or has `dm` in its ending; RELION does not read it.",
        f"Convert it with IMOD's `dm2mrc`. {_MAKE_TILTS}",
    ),
    Fault(
        r"EER movies should be handled by|compressed MRC movies should be handled by",
        "A STAR file names movies (.eer, or compressed .mrc) where RELION wants motion-corrected tilt images.",
        _MAKE_TILTS,
    ),
    Fault(
        r"Unsupported TIFF format|Failed to read an image data from|TIFF file does not have the width"
        r"|All frames in a TIFF should have",
        "A TIFF file is damaged, or of a kind that RELION does not read.",
        f"Convert it to MRC with `tif2mrc`. {_MAKE_TILTS}",
    ),
    Fault(
        r"only real-space images (?:may|can) be read",
        "An image file holds a Fourier transform (complex numbers), not an image.",
        "Give the image or map in real space.",
    ),
    Fault(
        r"4-bit MRC \(mode 101\)|For UHalf, YXSIZE",
        "A 4-bit MRC file (mode 101) has an odd number of pixels, which RELION does not read.",
        "Convert it to mode 1 or 2: `newstack -mode 1 IN OUT`.",
    ),
    Fault(
        r"readIMAGIC: header file of (?P<file>\S+) cannot be read",
        "The header file of the IMAGIC image {file} (.hed beside .img) cannot be read.",
        "Convert the image to MRC, and name the MRC file.",
    ),
    Fault(
        r"Image number (?P<number>\d+) exceeds stack size (?P<size>\d+) of image "
        r"(?:\d+@)?(?P<file>[^\n]*_stack2d[^\n]*)",
        "The particle's stack {file} holds {size} images, but image {number} was asked for: stack and STAR file do "
        "not belong together, or the stack was overwritten or cut short.",
        "Extract the particles again and use the STAR file that this makes.",
        RELION + "273",
    ),
    Fault(
        r"Image number (?P<number>\d+) exceeds stack size (?P<size>\d+)\b(?! of image)",
        "A stack holds {size} images, but image {number} was asked for: stack and STAR file do not belong together, or "
        "the stack was overwritten or cut short.",
        "Compare the stacks with the STAR file that names them (rlnImageName, rlnMicrographName).",
        RELION + "273",
    ),
    Fault(
        r"Multidimarray getImage: n larger than NSIZE",
        "A particle's stack holds fewer images than its STAR file says that tilts show the particle "
        "(rlnTomoVisibleFrames).",
        f"Use the STAR file that was made with the stacks; particles from which signal was subtracted have one image "
        f"each, and do not go into a refinement of 2D stacks. {_EXTRACT}",
    ),
    Fault(
        r"writeAsStack: unable to write (?P<file>[^\n]+?) - empty stack",
        "The particle of {file} is seen in no tilt image that is allowed, so there is nothing to extract{where}.",
        "Raise `extract: {{max_dose: ...}}` (null: all tilts), set `min_frames` to 1 or more, or remove such "
        "particles.",
    ),
    Fault(
        r"MlOptimiser::readStar: File (?P<file>\S+) cannot be read"
        r"|MlModel::readStar: File (?P<file2>\S+) cannot be read"
        r"|HealpixSampling::readStar: File (?P<file3>\S+) cannot be read",
        "A run was to go on from {file}, which is not there or cannot be read.",
        "Start again: the run continues from the last iteration whose files are all there. "
        "To begin anew, delete the job's folder.",
    ),
    Fault(
        r"readStar: incorrect (?P<table>(?:table )?(?:optimiser|sampling|model)_\w+)"
        r"|readStar::ERROR (?P<table2>no accuracy of translations)|incorrect table (?P<table3>model_\S*)",
        "A file of the iteration from which the run was to go on is damaged or of another version of RELION "
        "({table}).",
        _AGAIN_FROM_BEFORE,
    ),
    Fault(
        r"rlnModelStarFile2 (?:is empty|not found)",
        "A run with half sets was to go on from the end of a refinement (run_optimiser.star), in which the half sets "
        "are "
        "joined.",
        "By hand, go on from an iteration's optimiser (run_it.._optimiser.star); in the workflow, delete the job's "
        "folder, so that the run begins anew.",
    ),
    Fault(
        r"One has to use split random halves with multi-body refinement",
        "A multi-body refinement was to go on from the end of a refinement (run_optimiser.star), in which the half "
        "sets "
        "are joined, or from a run without half sets.",
        "Continue from the last iteration's optimiser (run_it.._optimiser.star) of a Refine3D.",
    ),
    Fault(
        r"writeBildFileOrientationalDistribution XSIZE\(pdf_direction\) != rot_angles",
        "The run was to go on from an iteration whose angular sampling is not the one that it has now; in multi-body "
        "refinements RELION 5.0.1 cannot go on at all.",
        f"{_ANEW}",
    ),
    Fault(
        r"nr_optics_group from data\.star does not match that in model\.star",
        "The run was to go on with particles that have other optics groups than those it began with.",
        f"Do not change the particles of a run that has begun. {_ANEW}",
    ),
    Fault(
        r"No (?P<what>\w+) file(?:name)? was found (?:from|in)[^\n]*?"
        r"optimi[sz]ation[-_]set (?:file )?(?P<file>\S+)",
        "The optimisation set {file} names no {what} file.",
        "Run the step that makes it again, or name the file under `inputs`.",
    ),
    Fault(
        r"The two reference maps were neither found in|No halfmap filenames were found in file",
        "The two half maps were given neither by name nor in the optimisation set.",
        "Run the reconstruction before this step again, so that half1.mrc and half2.mrc are there.",
    ),
    Fault(
        r"did not encounter a single word after (?P<label>\S+)",
        "A STAR file has the label {label} without a value behind it.",
        "Look at that line; it lacks its value, or a `loop_` is missing above the labels.",
    ),
    Fault(
        r"Could not find closing quote in a STAR file",
        "A row of a STAR file has a quotation mark that is not closed; RELION shows that row below its error.",
        "Close the quotation, or remove blanks and quotation marks from the names.",
    ),
    Fault(
        r"CtfRefinementProgram::\w+: (?:temporary file|Unable to read) (?P<file>\S+?)(?: is corrupted\.?)?$",
        "CTF refinement left the temporary file {file} unfinished, and cannot go on from it.",
        "Delete that file and start again: only that tomogram is done again.",
    ),
    Fault(
        r"Trajectory::read: unable to read (?P<file>\S+?)\.?$",
        "The trajectories' file {file} does not exist or cannot be read.",
        "Correct its path under `inputs` (trajectories), or leave it out; it counts from the project folder.",
    ),
    Fault(
        r"Trajectory::read: (?:missing particle number|insufficient number of particles) in (?P<file>\S+?)\.?$",
        "The trajectories' file {file} has fewer particles than the particles' STAR file, or is cut short.",
        "Use the trajectories that were made with these particles (motion.star of that polishing), or none.",
    ),
    Fault(
        r"no trajectory found for particle '(?P<name>[^'\n]+)' in (?P<file>\S+)",
        "The particle {name} has no trajectory in {file}.",
        "Use the trajectories that were made with these particles (motion.star of that polishing), or none; "
        "rlnTomoParticleName must be the same in both.",
    ),
    Fault(
        r"bad trajectory lengths; expected (?P<tilts>\d+) frames, found (?P<found>\d+)",
        "The particles' trajectories have {found} tilts, but the tilt series has {tilts}: they do not belong together.",
        "Use the trajectories that were made with these tilt series, or none; do not remove tilts after polishing.",
    ),
    Fault(
        r"TomogramSet: file is corrupted (?P<file>\S+)",
        "{file} has no rlnTomoTiltSeriesStarFile, and its tables are not RELION 4's either (one for each tomogram, in "
        "the same order).",
        "Give RELION 5's tomograms.star, with rlnTomoTiltSeriesStarFile, or convert the old one.",
    ),
    Fault(
        r"could not read data from (?P<file>\S+)\. Does the table have the correct name: data_(?P<name>[^\s?]+)",
        "{file} has no table data_{name}, or no row in it.",
        "The table of a tilt series' STAR file must be called as the tomogram (rlnTomoName in tomograms.star): "
        "data_{name}.",
    ),
    Fault(
        r"The input STAR file (?P<file>[^\n]+) does not contain any particles",
        "There is no particle in {file}; RELION stopped there without an error.",
        "Look at the step before (a selection that kept nothing?), and see that the table is called data_particles.",
        "https://github.com/SBC-Utrecht/pytom-match-pick/issues/214",
    ),
    Fault(
        r"Input particles should be provides in a STAR file",
        "The file that was given as particles is no .star file.",
        "Correct `inputs` (particles), or the optimisation set; the name must end in .star.",
    ),
    Fault(
        r"Star file is already at version",
        "The particles' STAR file has no optics table (data_optics), or an empty one.",
        "Add it, or use the STAR file that RELION's import or the step before wrote, unchanged.",
    ),
    Fault(
        r"beyond the current version of Relion",
        "A STAR file was written by a newer RELION than the one that runs.",
        "Load the newer RELION, or write the file again with this one.",
    ),
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
        r"Image number (?P<number>\d+) exceeds stack size (?P<size>\d+) of image (?:\d+@)?(?P<file>[^\n]+)",
        "The stack {file} holds {size} images, but image {number} was asked for: stack and STAR file do "
        "not belong together, or the stack was overwritten or cut short.",
        "Compare it with the STAR file that names it (rlnMicrographName of tilt series, rlnImageName of particles), "
        "and "
        "take the stack with which that was made.",
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
        r"tomogramSet->globalTable does not contain (?P<label>rln\w+)|for TomogramSet \S+ does not contain "
        r"(?P<label2>rln\w+)|cannot find (?P<label3>rlnMicrographOriginalPixelSize|rlnTomoTiltSeriesPixelSize) label",
        "The tomograms' STAR file lacks the column {label}.",
        "Add it to tomograms.star (voltage in kV, spherical aberration in mm, pixel sizes in Å), or use the one that "
        "RELION wrote.",
    ),
    Fault(
        r"tomogramTable (?P<file>\S+) does not contain compulsory (?P<label>rln\w+)",
        "The tilt series' STAR file {file} lacks the column {label}, the dose before each tilt.",
        "Add it: the accumulated dose in e/Å² before each tilt image.",
    ),
    Fault(
        r"tomogramTable for (?P<name>\S+) does not contain a rlnMicrographName label",
        "Nothing says where the tilt images of {name} are: neither rlnMicrographName in its STAR file nor "
        "rlnTomoTiltSeriesName in tomograms.star.",
        "Add one of the two.",
    ),
    Fault(
        r"unequal image dimensions in the individual tilt series images of tomogram: (?P<name>[^\n]+)",
        "The tilt images of {name} are not all of the same size.",
        "Remove the odd ones from its STAR file, or cut or pad all to the same size (`newstack`).",
    ),
    Fault(
        r"illegal deformation type '(?P<what>[^']*)'",
        "tomograms.star names a deformation type {what} that RELION does not know.",
        "Correct rlnTomoDeformationType (linear, spline or Fourier), or remove the deformation columns.",
    ),
    Fault(
        r"Tomogram::getProjectionMatrix encountered pixel size of zero",
        "A tilt series has a pixel size of 0.",
        "Correct rlnTomoTiltSeriesPixelSize (Å) in tomograms.star.",
    ),
    Fault(
        r"validateParticleOptics: inconsistent values between optics and tomograms",
        "Particles and tomograms disagree on voltage, spherical aberration, amplitude contrast or pixel size.",
        "Compare the optics table of the particles with tomograms.star (rlnVoltage, rlnSphericalAberration, "
        "rlnAmplitudeContrast, rlnTomoTiltSeriesPixelSize).",
    ),
    Fault(
        r"no (?P<label>rln\w+) label was found in the CTF parameters",
        "The particles' optics table lacks the column {label}.",
        "Add it to data_optics of the particles' STAR file, and to tomograms.star.",
    ),
    Fault(
        r"not all necessary variables defined in _optics\.star",
        "The particles' optics table lacks rlnVoltage, rlnSphericalAberration or a pixel size.",
        "Use the STAR file that the extraction wrote, unchanged, or add the column to data_optics.",
    ),
    Fault(
        r"AmplitudeContrast Q0 cannot be smaller than zero or larger",
        "rlnAmplitudeContrast is not between 0 and 1.",
        "Correct it in data_optics of the particles and in tomograms.star: about 0.07 to 0.1; it is no percentage.",
    ),
    Fault(
        r"CTF initialises to all-zero values",
        "A particle or tilt image has no CTF: defocus, amplitude contrast and spherical aberration are all 0.",
        "Take rlnDefocusU, V and Angle into the tilt series' STAR files from the CTF estimation.",
    ),
    Fault(
        r"requested output image size (?P<image>\d+) is not consistent with that in the optics group table "
        r"(?P<table>\d+)",
        "A particle's image has a box of {image} px, but its optics table says {table} px (rlnImageSize).",
        "Use the STAR file that was made with these images. " + _EXTRACT,
    ),
    Fault(
        r"requested pixel size (?P<image>\S+) is not consistent with that in the optics group table (?P<table>\S+)",
        "A calculation has a pixel size of {image} Å where the particles' optics table says {table} Å.",
        "Compare rlnImagePixelSize, rlnTomoTiltSeriesPixelSize and rlnTomoSubtomogramBinning, and the reference's "
        "header.",
    ),
    Fault(
        r"square(?:d)? images|xsize != ysize|should be of an image with equal sizes"
        r"|size of reference image is not the same as the experimental",
        "An image or map is not as wide as it is high{where}; RELION refines in squares and cubes only.",
        f"Look at the reference and at the particles' images. {_ONE_CUBE}",
    ),
    Fault(
        r"filtering of non-cube maps|xsize != zsize",
        "A map is no cube{where}; RELION filters only cubes.",
        f"The reference, or the map of which a mask is made, has sides of different length. {_ONE_CUBE}",
    ),
    Fault(
        r"only works with even values for the image dimensions",
        "The box has an odd number of pixels.",
        "Use an even box, and extract the particles again.",
    ),
    Fault(
        r"Pixel size of reference image is not set",
        "The reference's header has no pixel size.",
        "Write it there (`relion_image_handler --i REF.mrc --o REF2.mrc --force_header_angpix ANGSTROMS`) and give "
        "that "
        "map.",
    ),
    Fault(
        r"different models have different pixel sizes in their headers",
        "The references have different pixel sizes in their headers.",
        "Bring all to the same box and pixel size.",
    ),
    Fault(
        r"you need to have the _rlnReferenceImage field",
        "The reference is a STAR file without the column rlnReferenceImage.",
        "Give the map (.mrc) as the reference.",
    ),
    Fault(
        r"Reference map is too big: (?P<map>\d+) pixels instead of (?P<box>\d+)",
        "The half maps have a box of {map} px, more than the box of {box} px for estimation.",
        "Set `estimation_box` of that round's cycle to {map} px or more, or to auto.",
    ),
    Fault(
        r"ReferenceMap: (?P<file>\S+) does not contain a value for (?P<label>rln\w+)",
        "The FSC file {file} lacks the column {label}: it is not what postprocessing with a mask wrote.",
        "Run the postprocessing before this step again, with a mask, and use its postprocess.star.",
    ),
    Fault(
        r"fourierShellCorrelation ERROR: MultidimArrays have different shapes"
        r"|(?:half reconstructions|reference maps) (?:are not of the same size|have different sizes)",
        "The two half maps do not have the same box.",
        "Take both from the same reconstruction or refinement.",
    ),
    Fault(
        r"Solvent mask does not have the same size as the reference|mask is of incorrect size",
        "The mask and the map that it was laid on do not have the same box{where}.",
        "Make the mask from a map with the same box and pixel size (the mask step of that round).",
    ),
    Fault(
        r"Values in the solvent mask should be between zero and one|mask values not in range"
        r"|[Ss]olvent mask should (?:contain values|be) between|values outside the range \[0,1\]",
        "The mask has values outside 0 to 1, so it is no mask: perhaps a map was given.",
        "Make it with the mask step (relion_mask_create).",
    ),
    Fault(
        r"you need to provide --tomograms when refining 2D stacks",
        "The particles are 2D stacks, but no tomograms' STAR file was given with them.",
        "Give the optimisation set (`--ios`), or `--tomograms` beside the particles.",
    ),
    Fault(
        r"inconsistent is_3D values",
        "Some particles are 2D stacks and others 3D subtomograms.",
        "Extract all in the same way, and refine them from the STAR file that this makes.",
    ),
    Fault(
        r"can not use reconstruct images for 2D",
        "The particles have a column rlnReconstructImageName, which RELION cannot use for 2D stacks.",
        "Remove that column from the particles' STAR file.",
    ),
    Fault(
        r"cannot find rlnCtfImage for 3D CTF|3D CTF volume|MULTIPLICITY volume|subtomo multiplicity correction",
        "The particles are 3D subtomograms whose CTF volumes (rlnCtfImage) are missing or not those that RELION "
        "writes.",
        "Extract them with this workflow, as 2D stacks, and use the STAR file that this makes.",
    ),
    Fault(
        r"The following optics groups were not defined in (?P<file>[^\n]+?): (?P<groups>[\d, ]+)",
        "Particles of {file} belong to optics groups that its optics table does not have: {groups}.",
        "Add their rows to data_optics, or correct rlnOpticsGroup.",
    ),
    Fault(
        r"box sizes not available",
        "The particles' optics table has no rlnImageSize, and the images that would tell it are not there.",
        "Use the STAR file that the extraction wrote, and see that the images that it names are there.",
    ),
    Fault(
        r"Failed to get optics group for particle|rlnOpticsGroup\) is missing|addImageToParticle: optics_group out of",
        "A particle has no optics group, or one that the optics table does not have (rlnOpticsGroup).",
        "Compare rlnOpticsGroup in data_particles and data_optics: numbers from 1 on.",
    ),
    Fault(
        r"For MTF correction, the rlnMicrographOriginalPixelSize",
        "The optics table names an MTF file (rlnMtfFileName) but not the pixel size that belongs to it.",
        "Add rlnMicrographOriginalPixelSize to data_optics, or remove rlnMtfFileName.",
    ),
    Fault(
        r"values encountered in MTF curve|resolution in the MTF star file does not go up",
        "The MTF file of the optics table (rlnMtfFileName) is wrong: values of 0 or less, or resolutions that do not "
        "increase.",
        "Use the detector's MTF file as RELION gives it, or remove rlnMtfFileName from data_optics.",
    ),
    Fault(
        r"function getHalfSet was called",
        "The particles do not belong to half sets (no rlnRandomSubset), which CTF refinement and polishing need.",
        "Use the particles of a Refine3D, which splits them.",
    ),
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
        r"specific tomogram name \"(?P<name>[^\n\"]+)\" in the input star",
        "The tomogram {name} was asked for, which is not in tomograms.star.",
        "Compare the name with rlnTomoName there letter by letter.",
    ),
    Fault(
        r"No tomogram named '(?P<name>[^\n']+)'",
        "The particles name the tomogram {name}, which is not in tomograms.star.",
        "Compare rlnTomoName in both files letter by letter.",
    ),
    Fault(
        r"no particles found that belong to any of the defined tomograms",
        "Not one particle belongs to a tomogram of tomograms.star.",
        "Compare rlnTomoName in both files letter by letter.",
    ),
    Fault(
        r"Label (?P<label>rln\w+) not present in (?P<table>\S+)",
        "The table {table} of a STAR file lacks the column {label}, which RELION needs.",
        "Use the STAR file that the step before wrote, unchanged; a tilt series' columns come from its import, "
        "alignment "
        "and CTF estimation.",
        RELION + "1053",
    ),
    Fault(
        r"Label (?P<label>rln\w+) not present|\((?P<label2>rln\w+)\) (?:is )?missing from"
        r"|(?P<label4>rln\w+) missing from (?:optics )?MetaDataTable"
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
        r"[Ii]ncompatible image sizes|different shapes \("
        r"|reference image is not the same as the experimental|unequal image dimensions"
        r"|incorrect (?:reconstruct_)?image size",
        "Maps or images of different box sizes came together{where}.",
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
        r"prior on psi is zero",
        "A particle's angle lies at the very edge of its local search, where its probability is rounded to 0{where}.",
        _AGAIN_FROM_BEFORE,
        RELION + "1189",
        "continue",
    ),
    Fault(
        r"zero non-zero weights were encountered",
        "No orientation of particle {part} has a probability{where}: the reference, the mask or the particle's images "
        "hold nan (no number) or nothing but 0.",
        "Look at the reference and the mask (`relion_image_handler --stats`), then at the last iteration's map and at "
        "that particle's stack; make anew what holds nan.",
        RELION + "693",
        detail=r"part_id= (?P<part>\d+)",
    ),
    Fault(
        r"zero non-zero weights were encountered|my_nr_significant_coarse_samples == 0|exp_sum_weight==0",
        "No orientation of a particle has a probability{where}: the reference, the mask or the particle's images hold "
        "nan (no number) or nothing but 0.",
        "Look at the reference and the mask (`relion_image_handler --stats`), then at the last iteration's map and the "
        "particles' stacks; make anew what holds nan.",
        RELION + "693",
    ),
    Fault(
        r"normalised probability greater than 1",
        "The probabilities of a particle's orientations do not add up{where}: the reference, the mask or the "
        "particle's images hold nan (no number), or numbers beyond all measure.",
        "Look at the reference and the mask (`relion_image_handler --stats`), then at the last iteration's map and the "
        "particles' stacks; make anew what holds nan.",
        RELION + "693",
    ),
    Fault(
        r"cannot find positive values in sigma2_noise",
        "The particles have no noise{where}: their images are all 0 or nan.",
        "Look at some stacks of the extraction and at the tilt images that they come from; extract them again.",
    ),
    Fault(
        r"values encountered for tau2 spectrum",
        "The signal's estimate is below 0 or no number (nan){where}: a map that the run made or began with holds nan.",
        "Look at the reference, the mask and the last iteration's maps (`relion_image_handler --stats`); make anew "
        "what "
        "holds nan.",
    ),
    Fault(
        r"NonZeroPriorProbability BUG: best_i(?:dir|psi) < 0",
        "An angle of a particle is no number (nan){where}: rlnAngleRot, Tilt or Psi, or its prior.",
        "Look for nan in these columns of the particles' STAR file and of the run's last data.star, and remove those "
        "particles.",
    ),
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
        "Use a larger `local_range` or a finer `sampling` for this step (RELION: --sigma_ang, --healpix_order).",
    ),
    Fault(
        r"FSC curve never drops below randomize_fsc_at|unmasked FSC never falls below --randomize_at_fsc",
        "The FSC between the two half maps never falls below 0.8: the same map twice, half sets that share "
        "particles, or maps that are good up to the last shell.",
        "See that the half maps are from two different half sets; if they are, this binning shows all that it "
        "can: give the round a smaller `binning`, or take the step out of its `steps`.",
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
        r"Error in (?:textTo|AtoL)",
        "{program} got a word where one of its options wants a number.",
        "Look at the command in job.json: an empty variable (such as $TMPDIR) swallows the option after it.",
    ),
    Fault(
        r"(?:ERROR: )?Argument (?P<flag>\S+) not found or invalid argument",
        "{program} got no value, or not a valid one, for its option {flag}.",
        "Look at the command in job.json: an empty variable (such as $TMPDIR) swallows the option after it.",
    ),
    # -- options
    Fault(
        r"do not recognize symmetry group\s?(?P<what>\S+)|(?:^|ERROR: )Symmetry (?P<what2>\S+?) ?is not known"
        r"|Symmetry pg_(?P<what3>I5H?) not implemented|pg_(?P<what4>I5H) Symmetry not implemented",
        "RELION does not know the symmetry {what}.",
        "Correct `particle: {{symmetry: ...}}`: C1, C2 .. Cn, D2 .. Dn, T, O, or I1 to I4.",
    ),
    Fault(
        r"order for SN group must be even|Symmetry group, order=",
        "RELION does not know the symmetry that was asked for.",
        "Correct `particle: {{symmetry: ...}}`: C1, C2 .. Cn, D2 .. Dn, T, O, or I1 to I4.",
    ),
    Fault(
        r"Radius of circular mask is too large",
        "The particles' mask is as large as the box, so that no background is left to measure the noise in.",
        "Set `mask_diameter` of this step below the box (auto: 90 % of it), or use a larger box.",
    ),
    Fault(
        r"setTranslations BUG",
        "The search has no offsets to try: offset range or step is 0 or below.",
        "Correct `offset_range` and `offset_step` of this step: pixels, the step above 0.",
    ),
    Fault(
        r"min_frames should be larger than zero",
        "`min_frames` is below 0.",
        "Set `extract: {{min_frames: ...}}` to 1 or more.",
    ),
    Fault(
        r"nTasks and bSize should be > 0",
        "An MPI rank or thread was left without a particle{where}: there are fewer particles than ranks, or the pool "
        "is 0.",
        "Use fewer MPI ranks and threads, and `engine: {{pool: ...}}` of at least 1.",
    ),
    Fault(
        r"Neither a (?P<what>\w+) file nor an optimi[sz]ation-set file|(?P<what2>reference maps) were not specified on",
        "{program} was started without {what}.",
        "Look at the command in job.json: an empty variable swallows the option after it.",
    ),
    Fault(
        r"Errors encountered on the command line",
        "{program} did not understand its command line; it says what is wrong above 'Errors encountered'.",
        "Look at the command in job.json and at `{program} --help` of the RELION that is loaded, which must be 5.0.",
    ),
)

VAGUE = (
    Fault(
        r"went wrong in the external Python call",
        "RELION's Python part (Blush) failed{where}; Python says why above 'Something went wrong'.",
        "See that the conda environment relion-5.0 with torch is installed and active where the job runs, and that the "
        "GPU has memory left; or switch Blush off.",
        RELION + "1042",
    ),
    Fault(
        r"Encountered an MPI-related error|Fatal error in (?:internal_|P)?MPI_|An error occurred in MPI_|PMIX ERROR"
        r"|UCX +ERROR|got completion with error|(?:mlx|hfi|psm)\w*:[^\n]*error",
        "An MPI rank could not reach another{where}: that one had ended before, or the network failed.",
        "Look in the log for what the other rank said first; if there is nothing, start again: the run continues.",
        retry="continue",
    ),
    Fault(
        r"(?:ERROR|KERNEL_ERROR): (?P<why>[^\n]+?) in \S+ at line \d+ \(error-code \d+\)",
        "A calculation on the GPU failed{where}; the GPU's software says: {why}.",
        "Start again: it continues. If it comes back, try another GPU, or run without; look for CUDA's words in its "
        "manual.",
        RELION + "1293",
    ),
    Fault(
        r"KERNEL_ERROR|GPU-function failed to execute",
        "A calculation on the GPU failed{where}, and the log does not say why.",
        "Start again: it continues. If it fails at once again, this RELION may not be built for this GPU: try another "
        "kind of GPU, or without.",
        RELION + "1293",
    ),
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
        r"exited on signal 9\b|KILLED BY SIGNAL: 9|EXIT CODE: (?:9|137)\b|\bKilled\b",
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
        r"exited on signal 11\b|EXIT CODE: (?:11|139)\b|\(signal 11\)|Signal: Segmentation fault|Segmentation fault",
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
