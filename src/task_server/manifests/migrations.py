"""The project's migrations: a Job that applies them, and containers that wait until it has."""

from task_server.config.services import WORKER
from task_server.manifests.names import Object, digest, metadata, name_of
from task_server.manifests.plan import SERVICE_CPU, SERVICE_MEMORY, Plan
from task_server.manifests.pods import container, resources, template

#: Seconds that migrations may take before the rollout counts as failed.
LIMIT_SECONDS = 600

#: Seconds for which a container of a new pod waits for them; then it fails, so that `kubectl
#: describe` shows what it said, and starts again.
WAIT_SECONDS = 60

#: Seconds from SIGTERM to SIGKILL; PostgreSQL rolls back a migration that is interrupted.
GRACE = 30

#: Tries, ten seconds apart and then twice as long each: a database may still be starting.
RETRIES = 6

#: A mistake in the configuration, which trying again does not mend.
CONFIG_ERROR = 78

COMPONENT = "migrations"


def job(plan: Plan) -> Object:
    """
    Return the Job that applies the migrations, once for each image and settings.

    Its name has the hash of its pods, for the pods of a Job cannot be changed. It stays when it
    is done, or a second `apply` would run it again.
    """
    own = plan.kubernetes
    running = container(
        plan,
        COMPONENT,
        plan.image_of(COMPONENT),
        ("manage", "migrate", "--noinput"),
        service=WORKER.name,
        resources=resources(SERVICE_CPU, SERVICE_MEMORY),
    )
    pod = template(
        plan, COMPONENT, service=WORKER.name, containers=[running], waits=[], grace=GRACE
    )
    pod["spec"] = {"restartPolicy": "Never", **pod["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(own, name_of(own, f"{COMPONENT}-{digest(pod)}"), COMPONENT),
        "spec": {
            "backoffLimit": RETRIES,
            "podFailurePolicy": {
                "rules": [
                    # A drained node, not a failed migration.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": COMPONENT,
                            "operator": "In",
                            "values": [CONFIG_ERROR],
                        },
                    },
                ]
            },
            "template": pod,
        },
    }


def waits(
    plan: Plan,
    image: str,
    *,
    service: str,
    cpu: float = SERVICE_CPU,
    memory: int = SERVICE_MEMORY,
) -> list[Object]:
    """
    Return what keeps a pod of *image* from starting before the migrations are applied.

    Args:
        cpu, memory: What the pod asks for; it would need more if this asked for more.
    """
    if not plan.kubernetes.migrations:
        return []
    return [
        container(
            plan,
            COMPONENT,
            image,
            ("migrations", "wait", f"--timeout={WAIT_SECONDS}"),
            service=service,
            resources=resources(min(cpu, SERVICE_CPU), min(memory, SERVICE_MEMORY)),
        )
    ]
