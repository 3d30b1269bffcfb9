"""What is installed, what is missing, and what fixes it: the facts of `env`.

    probe       the seam: one thing to look for, and what is said of it
    system, mpi, cuda, network
                the things: one row of a table each
    abilities   which devices and backends can run, by the functions of a run
    survey      all of them, in a process of its own, which a broken library may take along

Everything is found without MPI_Init, a GPU or a driver.
"""
