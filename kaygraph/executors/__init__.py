"""Where ``exec`` runs: on the loop, in a thread, in a process, in an executor, on a cluster."""
