"""Where ``exec`` runs: on the loop, in a thread, in a process, in an executor of one's own."""
