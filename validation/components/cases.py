"""What is asked of each family: images of several sizes, several images, a video, a long text."""

from __future__ import annotations

from ...costmodel import Model, Workload

WIDE, TALL, SMALL = (480, 900), (900, 480), (300, 300)
FRAMES = 8


def workloads(model: Model) -> dict[str, Workload]:
    """Return the workloads of a model by name."""
    found = {
        "default image": Workload(images=(model.token_rule.default_image,)),
        "wide image": Workload(images=(WIDE,)),
        "three images": Workload(images=(WIDE, TALL, SMALL)),
    }
    if model.token_rule.video is not None:
        found["video"] = Workload(images=(WIDE,), frames=FRAMES)
    window = model.decoder.sliding_window
    if window is not None:
        # text alone fills the window, so that its layers' caches are full from the first token on
        found["long text"] = Workload(images=(SMALL,), text_tokens=window.size + 100)
    return found
