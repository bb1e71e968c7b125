"""How much of a prompt the text encoder of a model reads. Loads the tokenizer alone, and only for a text that may be
too long."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from factory.errors import UserError
from factory.models.layout import Layout

# Class of pipelines -> (its tokenizer that reads furthest, tokens read; None: the tokenizer's own length). They cut in
# silence what goes beyond. Families that are not listed wrap the prompt in words of their own: not known here.
READS: dict[str, tuple[str, int | None]] = {
    "StableDiffusionPipeline": ("tokenizer", None),
    "StableDiffusionDepth2ImgPipeline": ("tokenizer", None),
    "StableDiffusionImg2ImgPipeline": ("tokenizer", None),
    "LatentConsistencyModelPipeline": ("tokenizer", None),
    "StableDiffusionXLPipeline": ("tokenizer", None),
    "StableDiffusion3Pipeline": ("tokenizer_3", 256),
    "FluxPipeline": ("tokenizer_2", 512),
    "PixArtAlphaPipeline": ("tokenizer", 120),
    "PixArtSigmaPipeline": ("tokenizer", 300),
    "AuraFlowPipeline": ("tokenizer", 256),
    "ChromaPipeline": ("tokenizer", 512),
    "CogView3PlusPipeline": ("tokenizer", 224),
}
MARGIN = 4  # tokens of the encoder's own around a text, on the generous side


class Reader:
    """What a model reads of a text. `known` is False for families that are not in READS and where the tokenizer is not
    on this disk: such a reader cuts nothing."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        name, limit = READS.get(layout.name, ("", None))
        if name and not layout.has(name):  # SD 3 without T5 reads with CLIP
            name, limit = "tokenizer", None
        self.name, self._limit = name, limit
        self.known = bool(name) and layout.folder is not None and layout.has(name)

    @cached_property
    def limit(self) -> int:
        """Tokens, those of the encoder's own included."""
        assert self.layout.folder is not None
        if self._limit is not None:
            return self._limit
        file = self.layout.folder / self.name / "tokenizer_config.json"
        length = self.layout.part(self.name, file.name).get("model_max_length") if file.is_file() else None
        return length if isinstance(length, int) else int(self.tokenizer.model_max_length)

    @cached_property
    def tokenizer(self) -> Any:
        from factory.models.device import quiet

        quiet()
        import transformers

        kind = getattr(transformers, str(self.layout.index[self.name][1]), transformers.AutoTokenizer)
        try:
            return kind.from_pretrained(str(self.layout.folder), subfolder=self.name, local_files_only=True)
        except Exception as error:  # transformers and tokenizers have dozens
            words = " ".join(str(error).split())[:200]
            says = f"folder {self.name}: the tokenizer does not load ({words}); fetch it again"
            raise UserError(f"diffusion model {self.layout.model}, {says}") from error

    def cut(self, text: str) -> str:
        """The beginning of the text that the encoder reads; the text itself where it reads all."""
        if not self.known or self.fits(text):
            return text
        tokenizer = self.tokenizer
        read = self.limit - tokenizer.num_special_tokens_to_add()
        encoded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        if len(encoded["input_ids"]) <= read:
            return text
        return text[: encoded["offset_mapping"][read - 1][1]] if read > 0 else ""

    def fits(self, text: str) -> bool:
        """Whether its length alone tells that it is read whole: a token takes at least one letter."""
        return len(text) <= self.limit - MARGIN and text.isascii()
