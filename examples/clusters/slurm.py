"""Trains a sweep in jobs of Slurm: `python slurm.py rows.csv --target y --jobs 8`.

Needs `pip install 'regjax[dask]' dask-jobqueue` on a machine that can submit jobs. The same environment must
be visible to the jobs, as on a shared drive.
"""

import argparse
import sys

from dask_jobqueue import SLURMCluster

import regjax

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a table, or the name of a data set")
    parser.add_argument("--target", help="the column to predict")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="workers of a job, of one core each")
    parser.add_argument("--memory", default="4GB", help="of a job")
    parser.add_argument("--walltime", default="01:00:00", help="of a job")
    parser.add_argument("--partition")
    parser.add_argument("--interface", help="network interface that the jobs reach, such as ib0")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--store", default="sweep.sqlite")
    options = parser.parse_args()
    cluster = SLURMCluster(
        cores=options.cores,
        processes=options.cores,
        memory=options.memory,
        walltime=options.walltime,
        queue=options.partition,
        interface=options.interface,
        python=sys.executable,
        job_cpu=options.cores,
    )
    with cluster, cluster.get_client() as client:
        cluster.scale(jobs=options.jobs)
        client.wait_for_workers(options.jobs * options.cores)
        results = regjax.sweep(
            options.data,
            {"num_steps": options.steps},
            regjax.grid(l2=[0, 0.1, 1], keep_prob=[1, 0.8]),
            seeds=4,
            folds=5,
            target=options.target,
            store=options.store,
            executor=client,
        )
    print(results.compare_choice())
