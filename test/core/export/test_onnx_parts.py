import pytest
import torch

from occ_core.checkpoint import load_checkpoint
from occ_core.export import onnx_parts as onnx_module
from occ_core.export.onnx_parts import export_onnx, onnx_parts
from occ_core.export.step import ExportError


def test_parts_in_onnx_answer_as_in_torch(small_checkpoint, occ_export, tmp_path):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} (extra 'onnx') writes the files")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime (extra 'onnx') runs them")
    options = ("--checkpoint", small_checkpoint, "--kind", "graph", "--cameras", 2)
    occ_export(*options, "--out", tmp_path / "small.pt2", "--onnx", tmp_path)
    model, _ = load_checkpoint(small_checkpoint)
    model.image_encoder.fold()
    for name, (part, example) in onnx_parts(model, 2).items():
        values = torch.rand(example.shape) * (255 if name == "image_encoder" else 2)
        values = values.to(example.dtype)
        session = runtime.InferenceSession(tmp_path / f"{name}.onnx")
        (found,) = session.run(None, {"input": values.numpy()})
        with torch.no_grad():
            # both add up at most a thousand float32 products of size 1
            torch.testing.assert_close(torch.from_numpy(found), part(values), atol=1e-4, rtol=1e-4)


def test_without_its_packages_the_error_says_what_to_install(
    small_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(onnx_module, "NEEDED", ("no_such_package",))
    model, _ = load_checkpoint(small_checkpoint)
    with pytest.raises(ExportError, match="pip install no_such_package"):
        export_onnx(model, 2, tmp_path)
