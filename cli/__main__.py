"""The command's entry: `tokencost` and `python -m vlm_tokencost.cli`."""

import gc

# Start-up is what a user waits for: the garbage collector would run over modules that are being
# imported and that a short process never frees. Here, because it concerns the whole process.
gc.set_threshold(100_000)


def run() -> None:
    """Run the command line and exit."""
    from .main import main

    main()


if __name__ == "__main__":
    run()
