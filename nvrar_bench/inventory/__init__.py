"""What is here, what is missing, and what fixes it: the facts of `env`.

    probe       the seam: one thing to look for, and what is said of it
    package, mpi, cpu, cuda, libraries, network, launchers
                the things: one row of a table each
    abilities   which devices and backends can run, by what a run asks
    tables      all of them, in their order
    worker      the process that looks; a library that hangs or crashes takes it along
    survey      the process that asks the worker, and starts another after the culprit

Everything is found without MPI_Init, a GPU or a driver.
"""
