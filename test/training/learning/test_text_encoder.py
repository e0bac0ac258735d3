import logging
from pathlib import Path

import pytest
import torch

from occ_core.prompts import PROMPTS
from training.learning.text_encoder import SentenceEncoder, text_encoder, trainable_state

pytest.importorskip("wordllama", reason="the sentence encoder's weights come with wordllama")


def test_similar_sentences_have_similar_embeddings():
    encoder = SentenceEncoder()
    bicycle, motorcycle, trees = torch.nn.functional.normalize(
        encoder(["a bicycle", "a motorcycle", "bushes and trees"]), dim=1
    )
    assert bicycle @ motorcycle > bicycle @ trees + 0.1
    embeddings = encoder(list(PROMPTS))
    assert embeddings.shape == (90, 256)
    torch.testing.assert_close(embeddings.square().mean(dim=1), torch.ones(90))
    assert trainable_state(encoder) == {}


def test_a_sentence_is_the_mean_of_its_tokens():
    encoder = SentenceEncoder()
    ids = encoder.tokenizer.encode("rain at night", add_special_tokens=False).ids
    mean = torch.stack([encoder.tokens[number] for number in ids]).mean(dim=0)
    torch.testing.assert_close(encoder(["rain at night"])[0], mean / mean.norm() * 16)  # sqrt(256)


def test_without_clip_the_log_says_so(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert isinstance(text_encoder(None), SentenceEncoder)
    assert [record.message for record in caplog.records] == [
        "no CLIP weights given: prompts are embedded by wordllama"
    ]


def test_only_clips_lora_is_trained(small_clip: Path):
    encoder = text_encoder(small_clip)
    assert encoder.width == 24
    # Two layers, q and v each: A [8, 32] and B [32, 8], 2 * 2 * 2 * 256 = 2048
    weights = trainable_state(encoder)
    assert sum(weight.numel() for weight in weights.values()) == 2048
    assert all(("q_proj" in name or "v_proj" in name) and "lora" in name for name in weights)
    embeddings = encoder(["a car", "a bus on a street"])
    assert embeddings.shape == (2, 24)
    (embeddings * torch.randn(2, 24)).sum().backward()
    moved = {
        name
        for name, weight in encoder.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }
    # B starts at zero, so A has no gradient yet
    assert moved == {name for name in weights if "lora_B" in name}


def test_what_clip_is_goes_into_the_checkpoint(small_clip: Path):
    described = text_encoder(small_clip).described
    assert described["weights"] == f"{small_clip.name}, LoRA of rank 8 on q_proj and v_proj"
    assert described["tokenizer"].startswith("CLIPTokenizer")
    assert described["revision"].startswith("sha256 ")
    assert described == text_encoder(small_clip).described


def test_padding_changes_no_embedding(small_clip: Path):
    encoder = text_encoder(small_clip).eval()
    with torch.inference_mode():
        alone, padded = (
            encoder(["a car"])[0],
            encoder(["a car", "a long sentence about a car, parked or driving"])[0],
        )
    torch.testing.assert_close(alone, padded, atol=1e-5, rtol=1e-5)


def test_a_folder_without_weights_is_named(tmp_path: Path):
    with pytest.raises(
        FileNotFoundError,
        match="model.safetensors' does not exist; give a local Hugging Face folder of CLIP",
    ):
        text_encoder(tmp_path)
