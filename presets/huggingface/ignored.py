"""Fields of a config.json that never change what a forward pass costs.

A field belongs here only if it is harmless in every part; what is harmless in one part alone is
ignored by that part's reader. Readers take their fields first, so a name here that one part needs
is still read there.
"""

from __future__ import annotations

_WORDS = """
_attn_implementation _attn_implementation_autoset _attn_implementation_internal _commit_hash
_experts_implementation_internal _flash_attn_2_enabled _name_or_path _pad_token_id
activation_function architectures attention_multiplier attn_implementation attn_logit_softcapping
auto_map bad_words_ids base_model_pp_plan base_model_tp_plan begin_suppress_tokens cache_config
cache_implementation chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id
dense_act_fn diversity_penalty do_sample dtype early_stopping embedding_multiplier
encoder_no_repeat_ngram_size ep_size exponential_decay_length_penalty final_logit_softcapping
finetuning_task guidance_scale hidden_act hidden_activation id2label ignore_index init_std
is_composition is_decoder is_encoder_decoder is_llama_config label2id label_names length_penalty
logit_scale logits_scaling max_length max_new_tokens max_time min_length min_new_tokens min_p
model_type name_or_path neftune_noise_alpha no_repeat_ngram_size norm_topk_prob
num_assistant_tokens num_beam_groups num_beams num_labels num_return_sequences
original_max_position_embeddings output_attentions output_hidden_states output_logits
output_router_logits output_scores partial_rotary_factor penalty_alpha prefix pretraining_tp
problem_type projector_hidden_act query_pre_attn_scalar remove_invalid_values repetition_penalty
residual_multiplier return_dict return_dict_in_generate routed_scaling_factor router_aux_loss_coef
router_jitter_noise scale_decoder_outputs scoring_func suppress_tokens task_specific_params
temperature tf_legacy_loss tie_encoder_decoder tie_last_hidden_states tokenizer_class top_k top_p
torch_dtype torchscript transformers_version typical_p use_bfloat16 use_cache use_flash_attn
use_mrope
"""
#: Bookkeeping, numerics, training and generation.
_NAMES = frozenset(_WORDS.split())
#: Names that begin or end like this: rotary angles, ids of special tokens, dropout, epsilons.
_STARTS = ("initializer_", "rope_", "rotary_", "transformers.js", "unsloth_")
_ENDS = (
    "_dropout",
    "_dropout_prob",
    "_dropout_rate",
    "_eps",
    "_epsilon",
    "_pdrop",
    "_token_id",
    "_token_ids",
    "_token_index",
    "dropout",
    "dropout_rate",
    "layerdrop",
)


#: Fields of old releases that change nothing while they are false, empty or zero.
_OFF = frozenset({"add_cross_attention", "pruned_heads", "qk_layer_norms"})


def is_off(name: str, value: object) -> bool:
    """Return whether a field switches something off that would change the cost.

    >>> is_off("pruned_heads", {}), is_off("pruned_heads", {"0": [1]})
    (True, False)
    """
    return name in _OFF and not value


def changes_nothing(name: str) -> bool:
    """Return whether a field of this name is known to change no cost.

    >>> changes_nothing("rms_norm_eps"), changes_nothing("hidden_size")
    (True, False)
    """
    return name in _NAMES or name.startswith(_STARTS) or name.endswith(_ENDS)
