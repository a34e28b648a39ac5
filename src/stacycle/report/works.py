"""What a paper cites: authors, year, journal and DOI, of what each run rests on, and of some steps and inputs."""

from __future__ import annotations

ALWAYS = (
    "TomoGuide, STA in RELION5, https://tomoguide.github.io",
    "Mölder F, et al. (2021), Sustainable data analysis with Snakemake, F1000Research 10:33, "
    "doi:10.12688/f1000research.29032.2",
    "Scheres SHW, Chen S (2012), Prevention of overfitting in cryo-EM structure determination, Nature Methods 9:853, "
    "doi:10.1038/nmeth.2115",
    "Chen S, et al. (2013), High-resolution noise substitution to measure overfitting and validate resolution in 3D "
    "structure determination by single particle electron cryomicroscopy, Ultramicroscopy 135:24, "
    "doi:10.1016/j.ultramic.2013.06.004",
    "Rosenthal PB, Henderson R (2003), Optimal determination of particle orientation, absolute hand, and contrast loss "
    "in single-particle electron cryomicroscopy, Journal of Molecular Biology 333:721, doi:10.1016/j.jmb.2003.07.013",
)
RELION = (
    "Burt A, et al. (2024), An image processing pipeline for electron cryo-tomography in RELION-5, FEBS Open Bio "
    "14:1788, doi:10.1002/2211-5463.13873",
    "Zivanov J, et al. (2022), A Bayesian approach to single-particle electron cryo-tomography in RELION-4.0, eLife "
    "11:e83724, doi:10.7554/eLife.83724",
    "Scheres SHW (2012), RELION: Implementation of a Bayesian approach to cryo-EM structure determination, Journal of "
    "Structural Biology 180:519, doi:10.1016/j.jsb.2012.09.006",
)
OF_SOURCE = {
    "aretomo3": (
        "Zheng S, et al. (2022), AreTomo: An integrated software package for automated marker-free, motion-corrected "
        "cryo-electron tomographic alignment and reconstruction, Journal of Structural Biology: X 6:100068, "
        "doi:10.1016/j.yjsbx.2022.100068",
    ),
    "warp": (
        "Tegunov D, Cramer P (2019), Real-time cryo-electron microscopy data preprocessing with Warp, Nature Methods "
        "16:1146, doi:10.1038/s41592-019-0580-y",
    ),
    "imod": (
        "Kremer JR, Mastronarde DN, McIntosh JR (1996), Computer visualization of three-dimensional image data using "
        "IMOD, Journal of Structural Biology 116:71, doi:10.1006/jsbi.1996.0013",
    ),
    "scipion": (
        "de la Rosa-Trevín JM, et al. (2016), Scipion: A software framework toward integration, reproducibility and "
        "validation in 3D electron microscopy, Journal of Structural Biology 195:93, doi:10.1016/j.jsb.2016.04.010",
    ),
}
OF_STEP = {
    "multibody": (
        "Nakane T, et al. (2018), Characterisation of molecular motions in cryo-EM single-particle data by multi-body "
        "refinement in RELION, eLife 7:e36861, doi:10.7554/eLife.36861",
    ),
}
