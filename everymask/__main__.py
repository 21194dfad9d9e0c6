"""`python -m everymask` and `torchrun -m everymask`: the command line where its script is not on the path."""

from everymask.cli import main

if __name__ == "__main__":
    main()
