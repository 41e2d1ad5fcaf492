"""Benchmarks of speed and memory: one module per benchmark.

They run from a checkout of the repository and are not part of the installed package.

    python -m benchmarks                      list the benchmarks
    python -m benchmarks vrf data             run these two and write their committed results
    python -m benchmarks.vrf --growth         run one, with its own settings (--help lists them)
"""
