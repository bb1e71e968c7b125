"""What the doctor opens before it says ok: every mistake that a folder or file of weights can hold, in one line."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from factory.doctor.checks import checks
from factory.job import JobSpec
from tests.support.families import save, unet
from tests.support.smpl_files import write_pickle
from tests.support.spin_layout import spin_shapes
from tests.support.tiny_models import POINTER


def says(spec: JobSpec, field: str) -> str:
    """What the doctor says of a model; empty where it says ok."""
    finding = next(finding for finding in checks(spec) if finding.name == field)
    return "" if finding.ok else finding.says


def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def test_tiny_models_of_the_right_kinds_are_ok(tiny_job) -> None:
    assert [finding for finding in checks(tiny_job()) if finding.name.startswith("stages") and finding.fault] == []


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda file: file.rename(file.with_name(f"{file.stem}.fp16.safetensors")), "write `variant: fp16`"),
        (lambda file: file.rename(file.with_suffix(".bin")), "a pickle, which is never opened here; convert it"),
        (lambda file: file.write_text(POINTER), "is a Git LFS pointer, .* run `git lfs pull`"),
        (lambda file: file.write_bytes(file.read_bytes()[:-99]), "is cut short: .*; fetch it again"),
        (lambda file: file.unlink(), "no weights in it"),
    ],
    ids=["fp16", "bin", "lfs", "short", "none"],
)
def test_a_folder_that_will_not_load_is_not_ok(tiny_job, tmp_path, tiny_text_to_image, break_it, words) -> None:
    folder = copy(tiny_text_to_image, tmp_path)
    break_it(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert re.search(words, says(tiny_job(generate={"model": str(folder)}), "stages.generate.model"))


def test_models_in_each_others_place(tiny_job, tmp_path, tiny_text_to_image, tiny_depth_to_image) -> None:
    wrong = tiny_job(generate={"model": str(tiny_depth_to_image)}, refine={"model": str(tiny_text_to_image)})
    assert "is depth-to-image" in says(wrong, "stages.generate.model")
    assert "is text-to-image" in says(wrong, "stages.refine.model")


def test_a_parameter_without_effect(tiny_job, tmp_path) -> None:
    spec = tiny_job(generate={"model": str(save("flux-schnell", tmp_path)), "guidance_scale": 3.5})
    assert "takes no guidance" in says(spec, "stages.generate.model")
    assert says(tiny_job(generate={"model": str(tmp_path), "guidance_scale": 1}), "stages.generate.model") == ""
    spec = tiny_job(generate={"model": str(tmp_path), "guidance_scale": 1, "scheduler": "ddim"})
    assert "scheduler ddim does not fit this model, a FluxPipeline" in says(spec, "stages.generate.model")


def test_a_controlnet_of_another_family(tiny_job, tmp_path) -> None:
    base = save("sd1", tmp_path / "sd1")
    hints = tmp_path / "hints"
    hints.mkdir()
    config = dict(unet(xl=True).config)
    (hints / "config.json").write_text(json.dumps({**config, "_class_name": "ControlNetModel"}))
    refine = {"kind": "controlnet", "model": str(base), "controlnet": str(hints)}
    assert "take two of one family" in says(tiny_job(refine=refine), "stages.refine.controlnet")
    (hints / "config.json").write_text(json.dumps({**config, "_class_name": "ControlNetUnionModel"}))
    assert "is a ControlNetUnionModel; a depth ControlNet" in says(tiny_job(refine=refine), "stages.refine.controlnet")


def test_a_lora_of_another_family(tiny_job, tmp_path) -> None:
    base, name = tmp_path / "base", "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    save("sd1", base)
    config = json.loads((base / "unet" / "config.json").read_text())
    (base / "unet" / "config.json").write_text(json.dumps({**config, "cross_attention_dim": 768}))
    file = tmp_path / "lora.safetensors"
    pair = {f"{name}.lora_A.weight": torch.zeros(2, 2048), f"{name}.lora_B.weight": torch.zeros(8, 2)}
    save_file(pair, file)
    spec = tiny_job(generate={"model": str(base), "adapter": str(file)})
    assert "is of SDXL, the model of Stable Diffusion 1.x" in says(spec, "stages.generate.adapter")
    save_file({"transformer.blocks.0.attn.to_k.lora_A.weight": torch.zeros(2, 8)}, file)
    assert "is of a transformer, the model of Stable Diffusion 1.x" in says(spec, "stages.generate.adapter")
    save_file({"conv.weight": torch.zeros(2)}, file)
    assert "neither LoRA nor attention processors" in says(spec, "stages.generate.adapter")


def test_a_detector_of_another_kind(tiny_job, tmp_path, tiny_detector) -> None:
    folder = copy(tiny_detector, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "maskformer"}))
    spec = tiny_job(estimate={"detector": {"model": str(folder)}})
    assert "is a maskformer; Mask2Former is wanted" in says(spec, "stages.estimate.detector.model")


def test_smpl_as_a_checkpoint_or_as_a_folder(values: dict, tmp_path: Path) -> None:
    body = write_pickle(tmp_path)
    values["body"]["model"] = str(tmp_path)
    assert "is a folder; give the file in it" in says(JobSpec(**values), "body.model")
    assert str(body) in says(JobSpec(**values), "body.model")
    checkpoint = tmp_path / "SMPL_NEUTRAL.pth"
    torch.save({"v_template": torch.zeros(2)}, checkpoint)
    values["body"]["model"] = str(checkpoint)
    assert "is a PyTorch file, as simple_romp packs SMPL" in says(JobSpec(**values), "body.model")
    table = tmp_path / "body.npy"
    np.save(table, np.zeros(2))
    values["body"]["model"] = str(table)
    assert "is neither a .pkl nor an .npz; give SMPL_NEUTRAL.pkl" in says(JobSpec(**values), "body.model")


def test_a_folder_in_the_place_of_a_file_and_a_pointer_of_a_checkpoint(values: dict, tmp_path: Path) -> None:
    estimate = values["stages"]["estimate"]
    estimate["detector"] = {"kind": "detectron2", "model": str(tmp_path)}
    pointer = tmp_path / "model_checkpoint.pt"
    pointer.write_text(POINTER)
    estimate["hmr"]["model"] = str(pointer)
    spec = JobSpec(**values)
    assert "is a folder; a file is wanted, such as model_final" in says(spec, "stages.estimate.detector.model")
    assert "is a Git LFS pointer" in says(spec, "stages.estimate.hmr.model")


def checkpoints(tmp_path: Path, tiny_vposer: Path) -> dict[str, tuple[str, dict, Path]]:
    """Kind -> (field, its values, the checkpoint). The checkpoints are whole as far as the doctor looks."""
    spin, bev, v2 = tmp_path / "model_checkpoint.pt", tmp_path / "BEV.pth", tmp_path / "V02_05" / "snapshots" / "a.ckpt"
    torch.save({"model": {name: torch.zeros(shape) for name, shape in spin_shapes().items()}}, spin)
    torch.save({"module.backbone.conv1.weight": torch.zeros(2)}, bev)
    v2.parent.mkdir(parents=True)
    layers = ("vp_model.encoder_net.2.weight", "vp_model.decoder_net.0.weight")
    torch.save({"state_dict": dict.fromkeys(layers, torch.zeros(2))}, v2)
    v1 = next(shutil.copytree(tiny_vposer, tmp_path / "v1").glob("snapshots/*.pt"))
    return {
        "spin": ("hmr", {"kind": "spin", "model": str(spin)}, spin),
        "bev": ("hmr", {"kind": "bev", "model": str(bev)}, bev),
        "vposer-v1": ("prior", {"kind": "vposer-v1", "model": str(tmp_path / "v1")}, v1),
        "vposer-v2": ("prior", {"kind": "vposer-v2", "model": str(tmp_path / "V02_05")}, v2),
    }


@pytest.mark.parametrize("kind", ["spin", "bev", "vposer-v1", "vposer-v2"])
def test_a_checkpoint_that_does_not_open_is_not_ok(values: dict, tmp_path: Path, tiny_vposer: Path, kind: str) -> None:
    field, entry, file = checkpoints(tmp_path, tiny_vposer)[kind]
    values["stages"]["estimate"][field] = entry
    spec, name = JobSpec(**values), f"stages.estimate.{field}.model"
    assert says(spec, name) == ""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert f"{file} is damaged or no PyTorch file" in says(spec, name)
    torch.save([1, 2], file)
    assert f"{file} is no mapping of names to tensors; get " in says(spec, name)
    if kind != "bev":  # whose layers are not known here
        torch.save({"model": {"a": torch.zeros(1)}, "state_dict": {"a": torch.zeros(1)}, "a": torch.zeros(1)}, file)
        assert f"{file} holds no " in says(spec, name) and "so it is of another kind; get " in says(spec, name)
    file.write_bytes(pickle.dumps([1]))
    assert f"{file} is a pickle that torch.save has not written" in says(spec, name)


def test_prompts_that_are_too_long(tiny_job) -> None:
    values = tiny_job().model_dump()
    values["prompts"] |= {"template": "{action}", "action": ["on and on " * 30]}
    notes = [finding for finding in checks(JobSpec(**values)) if finding.level == "note"]
    fields = [note.name for note in notes if "prompts longer" in note.says]
    assert fields == ["stages.generate.model", "stages.refine.model"]


def test_offline_a_hub_id_is_one_clear_line(values: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    values["stages"]["generate"]["model"] = "owner/no-such-model"
    words = says(JobSpec(**values), "stages.generate.model")
    assert words.startswith(
        "owner/no-such-model: no such folder, and HF_HUB_OFFLINE is set and the hub's cache does not"
    )
