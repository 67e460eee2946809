"""Models from transformers' config.json files, and preset files from models.

    read_config(mapping, processor)   from contents
    read_file(path)                   from a file or a checkpoint's folder
    download("ORG/NAME@REVISION")     from the Hugging Face Hub (extra `hub`)
    to_toml(model)                    the text of a preset file

Nothing here runs a checkpoint's code or imports transformers.
"""

from .export import to_toml as to_toml
from .hub import download as download
from .reading import read_config as read_config
from .reading import read_file as read_file
