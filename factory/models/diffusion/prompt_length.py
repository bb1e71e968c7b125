"""How much of a prompt the text encoder of a model reads. Only the tokenizer is loaded, and only for a text that may be
too long."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from factory.errors import UserError
from factory.models.diffusion.layout import Layout

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Class of pipelines -> (the one of its tokenizers that reads furthest, the tokens that are read; None: the tokenizer's
# own length). The pipelines cut a longer text in silence. Families that are not listed wrap the prompt in words of
# their own, so that its length is not known here.
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
MARGIN = 4  # at least as many tokens as an encoder puts around a text


class PromptReader:
    """Cuts a prompt as the text encoder of a model does. `known` is False for a family that is not in READS, and where
    the tokenizer is not on this disk: then nothing is cut."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        name, limit = READS.get(layout.name, ("", None))
        if name and not layout.has(name):  # SD 3 without T5 reads with CLIP
            name, limit = "tokenizer", None
        self.name, self._limit = name, limit
        self.known = bool(name) and layout.folder is not None and layout.has(name)

    @cached_property
    def limit(self) -> int:
        """The number of tokens that are read, with those that the encoder adds."""
        assert self.layout.folder is not None
        if self._limit is not None:
            return self._limit
        file = self.layout.folder / self.name / "tokenizer_config.json"
        length = self.layout.part(self.name, file.name).get("model_max_length") if file.is_file() else None
        return length if isinstance(length, int) else int(self._transformers().model_max_length)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. CLIP's is read from its tokenizer.json alone, which spares the seconds that transformers takes
        to import; to those of other families transformers adds tokens of its own."""
        assert self.layout.folder is not None
        file = self.layout.folder / self.name / "tokenizer.json"
        if not file.is_file() or "CLIP" not in str(self.layout.index[self.name][1]):
            return self._transformers().backend_tokenizer
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises nothing more special
            raise self._unreadable(error) from error

    def _transformers(self) -> Any:
        """The tokenizer as pipelines load it."""
        from factory.models.device import quiet

        quiet()
        import transformers

        kind = getattr(transformers, str(self.layout.index[self.name][1]), transformers.AutoTokenizer)
        try:
            return kind.from_pretrained(str(self.layout.folder), subfolder=self.name, local_files_only=True)
        except Exception as error:  # transformers and tokenizers have dozens
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> UserError:
        words = " ".join(str(error).split())[:200]
        says = f"folder {self.name}: the tokenizer does not load ({words}); fetch it again"
        return UserError(f"diffusion model {self.layout.model}, {says}")

    def cut(self, text: str) -> str:
        """The beginning of the text, as far as the encoder reads; the text itself where it reads all of it."""
        if not self.known or self.fits(text):
            return text
        tokenizer = self.tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        read = self.limit - tokenizer.num_special_tokens_to_add(False)
        ends = [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]
        if len(ends) <= read:
            return text
        return text[: ends[read - 1]] if read > 0 else ""

    def fits(self, text: str) -> bool:
        """Whether the text is so short that it is read whole, whatever its tokens: a token has at least one letter."""
        return len(text) <= self.limit - MARGIN and text.isascii()
