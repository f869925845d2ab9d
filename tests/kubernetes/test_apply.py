"""`kubectl apply -k` into a namespace that enforces Pod Security `restricted`."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from docket.samples import write_samples
from tests.kubernetes.lab import descriptions
from tests.kubernetes.lab.cluster import Cluster
from tests.kubernetes.lab.control import GATEWAY
from tests.kubernetes.lab.pods import names
from tests.kubernetes.lab.project import Project
from tests.kubernetes.lab.servers import redis
from tests.kubernetes.lab.shop import Shop
from tests.support.redis import Redis

#: All pods of docket share it; a claim is allowed where a path of the node is not.
MEDIA = """
apiVersion: v1
kind: PersistentVolume
metadata: {{name: docket-media}}
spec:
  accessModes: [ReadWriteMany]
  capacity: {{storage: 1Gi}}
  persistentVolumeReclaimPolicy: Retain
  claimRef: {{namespace: docket, name: media}}
  hostPath: {{path: {path}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: media, namespace: docket}}
spec:
  accessModes: [ReadWriteMany]
  resources: {{requests: {{storage: 1Gi}}}}
  storageClassName: ""
  volumeName: docket-media
"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of *folder* where pods reach them; yield the URL."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer((GATEWAY, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{GATEWAY}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_docket_reads_documents(cluster: Cluster, tmp_path: Path) -> None:
    """
    Everything is ready, and the main job is done by the pods.
    """
    media, samples = tmp_path / "media", tmp_path / "samples"
    _make_for_pods(media)
    write_samples(samples)
    with (
        redis(tmp_path / "redis") as broker,
        cluster.namespace("docket") as kubectl,
        served(samples) as url,
    ):
        project = Project("docket", tmp_path / "docket", kubectl)
        places = _describe(project, cluster, broker)
        kubectl("apply", "--filename", "-", given=MEDIA.format(path=media))

        project.apply()
        project.rolled_out()

        urls = [f"{url}/{path.name}" for path in sorted(samples.iterdir())]
        done = subprocess.run(
            [sys.executable, "-m", "docket", "ingest", "--wait", *urls],
            env={**os.environ, **places, "DJANGO_MEDIA_ROOT": str(media)},
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{kubectl.shown()}"
    with (
        cluster.database.connect("docket") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT count(*) FROM docket_document WHERE text LIKE '%motion%'")
        assert cursor.fetchone() == (len(urls),)


def _make_for_pods(folder: Path) -> None:
    """Make a folder that is the pods' user's, who comes through all that are above it."""
    folder.mkdir()
    os.chown(folder, 33, 33)
    for path in folder.parents:
        if path != Path("/") and path.stat().st_uid == 0:
            path.chmod(path.stat().st_mode | 0o055)


def _describe(project: Project, cluster: Cluster, broker: Redis) -> dict[str, str]:
    """Write the project's manifests and its Secrets; return the variables of its servers."""
    cluster.database.create("docket", "docket")
    broker_url = f"redis://{GATEWAY}:{broker.port}/0"
    places = {"DATABASE_URL": cluster.database.url("docket", "docket"), "REDIS_URL": broker_url}
    project.secret("broker", url=broker_url)
    project.secret("docket", **places)
    project.secret("flower", basic_auth="operator:correct-horse")
    project.describe(descriptions.docket("docket", cluster.images["worker"]))
    return places


def test_a_foreign_project_runs_its_tasks(shop: Shop) -> None:
    """
    Everything is ready, a second apply rolls nothing, and both workers take their tasks.
    """
    shop.release()
    before = names(shop.workers())

    shop.apply()
    shop.rolled_out()
    shop.send("work", range(20))
    shop.send("visit", range(20, 40))
    shop.have_ended(40)

    assert before == names(shop.workers())
    assert dict.fromkeys(range(40), 1) == shop.runs.began()
