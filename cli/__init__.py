"""The `tokencost` command.

Start-up is what a user waits for: collections of garbage that a short process never has are put
off, and plugins of pydantic are not looked for in every installed distribution.
"""

import gc
import os

gc.set_threshold(100_000)
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
