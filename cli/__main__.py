"""The command's entry: `tokencost` and `python -m vlm_tokencost.cli`.

Start-up is what a user waits for. What follows concerns the whole process, so it stands here and
not in a module that others import.
"""

import gc
import os
import sys

# The collector would run over modules that are being imported and that a short process never frees.
gc.set_threshold(100_000)
# Plugins of pydantic would be looked for in every installed distribution.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
if os.environ.get("NO_COLOR"):  # help without any style, as tables are; typer would keep bold
    os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")


def run() -> None:
    """Run the command line and exit."""
    try:
        from .main import main
    except KeyboardInterrupt:  # while modules are imported; later `main` says so itself
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)
    try:
        main()
    finally:
        # The interpreter's last collections would visit every object; the process ends anyway, and
        # what must happen at an end (flushing, functions of `atexit`) happens all the same.
        gc.freeze()


if __name__ == "__main__":
    run()
