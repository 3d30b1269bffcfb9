"""Starting ranks, watching over them, and ending them without leaving anything behind.

launcher      `--ranks N` and `--launcher CMD`: start ranks
flavours      one row for each MPI: how to recognise it, what it needs, where its mpirun is
repeat        `--launches N`: several launches, and one record of all
job           one run of a launcher: output, stopping, cleaning up
again         starts Python on this very package, whatever the current folder holds
environment   what the launcher says about this rank, and whether MPI agrees
supervisor    the process between the launcher and a rank
meeting       ranks that share cores load packages in turns, and come to MPI_Init together
notices       what a rank and the supervisors of its host tell each other
progress      how far each rank is, and which one the others wait for
initialize    MPI_Init and MPI_Finalize that leave the other threads running
console       where people read: what a launcher puts between a rank and the terminal
processes     ties between a parent and its child, signals, how a process ended
"""
