#!/bin/sh
# Snakemake submits this for each job. It notes how the job ended, for few schedulers tell: `status` reads it.
# properties = {properties}
( {exec_job} )
status=$?
ended="$PBS_O_WORKDIR/.snakemake/ended/$PBS_JOBID"
echo $status > "$ended.new" && mv "$ended.new" "$ended"
exit $status
