"""Send a task: python -m errands.send [--queue QUEUE] NAME ARGUMENT..."""

import argparse

from errands.celery import app


def main() -> None:
    """Send what the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--queue", default="celery")
    parser.add_argument("name")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    app.send_task(f"errands.{options.name}", options.arguments, queue=options.queue)


if __name__ == "__main__":
    main()
