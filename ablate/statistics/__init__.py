"""Statistics in numpy and scipy.

`interval` (an estimate with its limits), `formatting` (how it is written), `seeds` (numbers over seeds), `power` (how
many decide); of gradients `block_sums`, `noise`, `bias` and `resampling` (jackknife and bootstrap limits).
"""
