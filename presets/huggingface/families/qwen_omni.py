"""Qwen2.5-Omni: its thinker, with images alone."""

from __future__ import annotations

from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading
from .qwen_vl import merger, video_pairs


def qwen2_5_omni(config: Fields, images: ImageProcessor) -> Reading:
    """Return the thinker's encoder and LLM; nothing that hears or speaks is priced or counted."""
    config.ignore("talker_config", "token2wav_config", "enable_audio_output", "enable_talker")
    thinker = config.part("thinker_config")
    thinker.ignore(
        "audio_config", "position_id_per_seconds", "seconds_per_chunk", "vision_seconds_per_chunk"
    )
    fields, encoder = base.vision_of(thinker)
    text, decoder = base.text_of(thinker)
    connector = merger(fields, encoder, decoder, "out_hidden_size")
    rule = rules.native(
        config,
        images,
        encoder,
        connector,
        limits=rules.QWEN_LIMITS,
        cells=39,
        video=video_pairs((100_352, 602_112), "Qwen2_5OmniProcessor"),
    )
    for each in (fields, text, thinker):
        each.finish()
    remark = "audio encoder, talker and token2wav are not counted: no image passes them"
    config.notes.remarks[remark] = None
    config.notes.unverified["other_parameters"] = None
    return Reading("Qwen2.5-Omni", encoder, connector, decoder, rule)
