"""Every family's components on meta, counted and held against the closed form.

`python -m vlm_tokencost.validation.components` builds the transformers class of each config in
configs/ at full size, runs vision encoder, connector, LLM and head on the shapes that the token
rule gives, counts them by torch's FlopCounterMode, and writes docs/components.json and the table
in docs/components.md from the run itself.
"""
