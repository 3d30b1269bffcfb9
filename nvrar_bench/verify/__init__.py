"""Inputs whose all-reduce is known, and the check of what came back.

    known = KnownReduction("float32", "sum", ranks=4, mode="exact", seed=1)
    send = known.inputs(rank, count)
    poison(recv)
    ...                                  # the all-reduce under test
    result = check(recv, known.expected(count), count, rank)

Every value depends on (seed, rank, index), so data that is misplaced, stale, dropped or doubled
shows. `exact` inputs have a result that every order of combination gives without any rounding;
`rounding` inputs are ordinary numbers, compared within a proven error bound. No sum or product of
either leaves the range of its dtype in any order; those of `wrap`, of integers alone, do.
"""
