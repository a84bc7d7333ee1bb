"""A seeded simulator of the consumer: one integer reproduces any failure.

Real: the dispatcher, the group commit, lanes, watermarks, parking, failures, and the SQLite store's
statements. Played by the simulator, without threads: the log, the poll thread, the committer's and
the handlers' threads, the group's coordinator, operators, crashes, and time.
"""
