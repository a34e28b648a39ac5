#!/bin/sh
# Snakemake submits this for each job. It notes how the job ended, for few schedulers tell: `status` reads it.
# properties = {properties}
( {exec_job} )
status=$?
ended="$SGE_O_WORKDIR/.snakemake/ended/$JOB_ID"
echo $status > "$ended.new" && mv "$ended.new" "$ended"
exit $status
