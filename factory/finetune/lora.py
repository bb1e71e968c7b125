"""Low-rank changes of a UNet's layers (LoRA, Hu et al. 2022): which layers, their weights, and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from factory.errors import UserError
from factory.finetune.diffusion_options import LAYERS
from factory.weights.catalogue import PEFT

FILE = "pytorch_lora_weights.safetensors"


class LoRA:
    """The adapter's weights within a UNet. Its state holds these alone, whatever the UNet's own weights are."""

    def __init__(self, unet: Any, rank: int, layers: str) -> None:
        """layers: a key of LAYERS. UserError: peft is not installed."""
        try:
            from peft import LoraConfig
        except ImportError:
            raise UserError(f"factory finetune diffusion: peft is not installed; {PEFT.install}") from None
        self.unet = unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LAYERS[layers])))

    def parameters(self) -> list[Tensor]:
        """The weights that learn."""
        return [p for p in self.unet.parameters() if p.requires_grad]

    def state_dict(self) -> dict[str, Tensor]:
        """The adapter's weights, named as diffusers names them."""
        from peft.utils import get_peft_model_state_dict

        return get_peft_model_state_dict(self.unet)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Set the weights that `state_dict` returned. ValueError: they are of other layers or of another rank."""
        from peft.utils import set_peft_model_state_dict

        own = {name: value.shape for name, value in self.state_dict().items()}
        if own != {name: value.shape for name, value in state.items()}:
            raise ValueError("an adapter of other layers or of another rank")
        set_peft_model_state_dict(self.unet, state)

    def save(self, folder: Path) -> None:
        """Write FILE as diffusers' own training scripts do, half precision: by a temporary folder and a rename, so that
        a kill leaves the old file or the new one."""
        from diffusers import StableDiffusionPipeline

        layers = {name: value.detach().half().contiguous().cpu() for name, value in self.state_dict().items()}
        temporary = folder / "unfinished"
        StableDiffusionPipeline.save_lora_weights(temporary, unet_lora_layers=layers)
        (temporary / FILE).replace(folder / FILE)
        temporary.rmdir()

    def enable(self, on: bool) -> None:
        """Whether the UNet computes with the adapter."""
        self.unet.enable_lora() if on else self.unet.disable_lora()
