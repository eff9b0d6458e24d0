"""A vision-language model for tests: Qwen2.5-VL's classes, two layers of random weights and a few words."""

from pathlib import Path

import torch

WORDS = [
    "a",
    "the",
    "red",
    "green",
    "blue",
    "circle",
    "square",
    "moves",
    "left",
    "right",
    "up",
    "describe",
    "what",
    "happens",
    "user",
    "assistant",
]
_SPECIAL = [
    "<pad>",
    "<unk>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
]
_SPECIAL += ["<|video_pad|>"]
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def write_qwen(folder: Path, seed: int = 0, silent: bool = False) -> Path:
    """A folder as its authors ship them; a `silent` one ends every caption before its first word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
            "bos_token_id": 2,
            "eos_token_id": 3,
            "pad_token_id": 0,
            "initializer_range": 0.5,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 14,
            "window_size": 56,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=6,
        video_token_id=7,
        vision_start_token_id=4,
        vision_end_token_id=5,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    if silent:
        with torch.no_grad():
            model.lm_head.weight.zero_()
            model.lm_head.weight[3] = 1e-3
            model.model.language_model.norm.weight.zero_()
        model.generation_config.suppress_tokens = [n for n in range(len(vocabulary)) if n != 3]
    model.save_pretrained(folder)
    size = {"shortest_edge": 28 * 28, "longest_edge": 16 * 28 * 28}
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            unk_token="<unk>",
            pad_token="<pad>",
            eos_token="<|im_end|>",
            additional_special_tokens=_SPECIAL[2:],
        ),
        video_processor=Qwen2VLVideoProcessor(size=size),
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)
    return folder
