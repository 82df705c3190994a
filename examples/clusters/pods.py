"""Trains a sweep in pods of Kubernetes: `python pods.py rows.csv --target y --image IMAGE --workers 8`.

Needs `pip install 'regjax[dask]' dask-kubernetes` here, Dask's operator in the cluster, and an image in which
`pip install 'regjax[dask]'` was run with the same versions as here.
"""

import argparse

from dask_kubernetes.operator import KubeCluster

import regjax

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a table, or the name of a data set")
    parser.add_argument("--target", help="the column to predict")
    parser.add_argument("--image", required=True, help="an image with regjax")
    parser.add_argument("--workers", type=int, default=2, help="pods, of one core each")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--store", default="sweep.sqlite")
    options = parser.parse_args()
    cluster = KubeCluster(
        name="regjax",
        image=options.image,
        namespace=options.namespace,
        n_workers=options.workers,
        resources={"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        worker_command=["dask", "worker", "--nthreads", "1"],
    )
    with cluster, cluster.get_client() as client:
        client.wait_for_workers(options.workers)
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
