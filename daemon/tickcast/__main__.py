"""`python -m tickcast` is the command `tickcast`, for whoever has an interpreter and no console script."""

from tickcast.cli import main

if __name__ == "__main__":
    main()
