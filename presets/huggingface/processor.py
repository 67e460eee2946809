"""What preprocessor_config.json says about sizes, or the class of processors where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...costmodel import InvalidInput
from ...costmodel.tokens.base import LARGEST_SIDE
from .defaults import ClassDefaults
from .fields import Fields, Notes
from .processor_types import KNOWN, PROCESSORS, class_stem

#: Rules look at every grid of so many tiles; no released processor makes a hundred.
MOST_TILES = 1_000
#: How the fields of both processors are called in `Model.defaulted`.
_IMAGES, _VIDEOS = "preprocessor.", "video_preprocessor."


class ImageProcessor:
    """The settings of an image processor that decide about tokens.

    Attributes:
        given: Whether there is a file.
        videos: The settings of the video processor.
    """

    def __init__(
        self,
        table: Mapping[str, Any] | None,
        notes: Notes,
        prefix: str,
        videos: ImageProcessor | None = None,
    ) -> None:
        """Wrap the file's table; None where there is no file."""
        self.given, self._notes, self._prefix = table is not None, notes, prefix
        self._told, self.videos = _IMAGES if videos else _VIDEOS, videos or self
        nothing = ClassDefaults("image processor", {}, {}, {})
        self._fields = Fields(table or {}, "image processor", nothing, notes, prefix=prefix)

    def tiles(self, name: str, default: int) -> int:
        """Return a number of tiles, or the class's default."""
        return self.whole(name, default, MOST_TILES)

    def whole(self, name: str, default: int, maximum: int = LARGEST_SIDE) -> int:
        """Return a number, or the class's default."""
        if not self._fields.has(name):
            return self._default(name, default)
        return self._fields.whole(name, self._fields.value(name), 1, maximum)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false, or the class's default."""
        if not self._fields.has(name):
            return bool(self._default(name, default))
        return self._fields.flag(name)

    def sets(self, name: str) -> bool:
        """Return whether there is a file that gives a setting."""
        return self._fields.has(name)

    def only(self, name: str, value: object) -> None:
        """Refuse a setting other than `value`, the one that the rules know."""
        self._fields.only(name, value, "no token rule knows it")

    def same(self, name: str, value: int, other: str) -> None:
        """Refuse a number, or a square's two equal sides, that is not `value`, as `other` is."""
        if not self._fields.has(name):
            return
        given = self._fields.value(name)
        sides = [given]
        if isinstance(given, Mapping):
            sides = [side for side in given.values() if side is not None]
        if not sides or any(side != value or isinstance(side, bool) for side in sides):
            problem = f"is not {other} {value} of config.json"
            raise self._fields.refusal(name, given, problem, "correct one of them")

    def patches(self, patch: int, temporal: int, merge: int) -> None:
        """Refuse files whose patches are not the encoder's, or are joined otherwise."""
        for each in (self, self.videos):
            each.same("patch_size", patch, "patch_size")
            each.same("temporal_patch_size", temporal, "temporal_patch_size")
            each.same("merge_size", merge, "spatial_merge_size")

    def belongs(self, model_type: str) -> None:
        """Refuse a file of another family's class, or one that leaves images as they are.

        Raises:
            InvalidInput: It is such a file.
        """
        kind, known = "image_processor_type", self._fields.value("image_processor_type")
        stem = class_stem(known) if isinstance(known, str) else ""
        if stem in KNOWN and stem not in PROCESSORS[model_type]:
            expected = " or ".join(f"{each}ImageProcessor" for each in PROCESSORS[model_type])
            problem = f"is not a class for {model_type}"
            raise self._fields.refusal(kind, known, problem, f"give the file of {expected}")
        for each in (self, self.videos):
            if each._fields.has("do_resize") and not each._fields.flag("do_resize"):
                problem = "leaves images in sizes that no token rule knows"
                way_out = "give true, or the files of the checkpoint"
                raise each._fields.refusal("do_resize", False, problem, way_out)

    def edge(self, name: str, edge: str, default: int, origin: str = "") -> int:
        """Return an edge of a size ({"longest_edge": 980}), or the default.

        Args:
            name: The size.
            edge: Its edge.
            default: What stands in where the file lacks it.
            origin: Where that is from, unless it is the class's own.
        """
        sizes = self._fields.value(name)
        if isinstance(sizes, Mapping) and sizes.get(edge) is not None:
            return self._fields.whole(f"{name}.{edge}", sizes[edge], 1, LARGEST_SIDE)
        if isinstance(sizes, int) and not isinstance(sizes, bool) and sizes > 0:
            return self._fields.whole(name, sizes, 1, LARGEST_SIDE)
        if sizes is not None and not isinstance(sizes, Mapping):
            raise self._fields.refusal(name, sizes, "is not a size", f'give {{"{edge}": …}}')
        return self._default(f"{name}.{edge}", default, origin)

    def pixels(self, least: int, most: int) -> tuple[int, int]:
        """Return the limits of native-resolution processors, in pixels.

        Files give them as min_pixels and max_pixels, or as the edges of `size`.
        """
        found = []
        for name, edge, default in (
            ("min_pixels", "shortest_edge", least),
            ("max_pixels", "longest_edge", most),
        ):
            if self._fields.has(name):
                found.append(self._fields.whole(name, self._fields.value(name), 1))
                continue
            sizes = self._fields.value("size")
            if isinstance(sizes, Mapping) and sizes.get(edge) is not None:
                found.append(self._fields.whole(f"size.{edge}", sizes[edge], 1))
            else:
                found.append(self._default(name, default))
        if found[0] > found[1]:
            problem = f"is above max_pixels {found[1]:,}"
            raise self._fields.refusal("min_pixels", found[0], problem, "correct one of them")
        return found[0], found[1]

    def pairs(self, name: str) -> tuple[tuple[int, int], ...] | None:
        """Return a list of (height, width), or None where the file has none."""
        if not self._fields.has(name):
            return None
        return read_pairs(self._fields, name)

    def agrees(self, side: int) -> None:
        """Refuse a processor whose images are not squares of `side`, which the encoder takes.

        Raises:
            InvalidInput: It crops or resizes to another size.
        """
        for name in ("crop_size", "size"):
            sizes = self._fields.value(name)
            if isinstance(sizes, int) and not isinstance(sizes, bool):
                sizes = {"height": sizes, "width": sizes}
            if not isinstance(sizes, Mapping):
                continue
            for edge in ("height", "width"):
                if edge not in sizes:
                    continue
                given = self._fields.whole(f"{name}.{edge}", sizes[edge], 1)
                if given != side:
                    problem = f"is not the encoder's image_size {side}"
                    raise self._fields.refusal(f"{name}.{edge}", given, problem, "correct one")
                if edge == "width":
                    return

    def refusal(self, name: str, value: object, problem: str, way_out: str) -> InvalidInput:
        """Return the error for a field of the file."""
        return self._fields.refusal(name, value, problem, way_out)

    def _default(self, name: str, value: int, origin: str = "") -> int:
        told = f" (from {origin})" if origin else ""
        self._notes.defaulted[f"{self._told}{name}{told}"] = None
        return value


def read_pairs(fields: Fields, name: str) -> tuple[tuple[int, int], ...]:
    """Return a list of (height, width) of a table."""
    value = fields.value(name)
    if not isinstance(value, list | tuple) or not value:
        raise fields.refusal(name, value, "is not a list of sizes", "give pairs of numbers")
    found = []
    for place, pair in enumerate(value):
        where = f"{name}.{place}"
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise fields.refusal(where, pair, "is not a size", "give height and width")
        height, width = (fields.whole(where, side, 1, LARGEST_SIDE) for side in pair)
        found.append((height, width))
    return tuple(found)
