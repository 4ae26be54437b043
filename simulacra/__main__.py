"""`python -m simulacra`, which is also what torchrun launches."""

from simulacra.cli import main

main()
