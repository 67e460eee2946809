"""Runs the command as `python -m vlm_tokencost.cli`."""

from .main import main

if __name__ == "__main__":
    main()
