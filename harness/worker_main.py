"""The worker's own beginning: it leaves the network, where the system allows that, then evaluates.

Run as ``python -m harness.worker_main eval …``. What it needs is on disk by now.
"""

from __future__ import annotations

from harness.submissions.sandbox import leave_network


def run() -> None:
    """The command line without a network."""
    leave_network()  # before anything else is imported: it takes a process of one thread
    from harness import cli

    cli.main()


if __name__ == "__main__":
    run()
