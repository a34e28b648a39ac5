#!/bin/sh
# Snakemake submits this for each job. It notes how the job ended, for few schedulers tell: `status` reads it.
# properties = {properties}
( {exec_job} )
status=$?
ended="$SLURM_SUBMIT_DIR/.snakemake/ended/$SLURM_JOB_ID"
echo $status > "$ended.new" && mv "$ended.new" "$ended"
exit $status
