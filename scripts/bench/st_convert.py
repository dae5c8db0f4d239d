"""Write the OpenVINO graph of a model that optimum-intel cannot export, for st_server.py.

    python scripts/bench/st_convert.py FOLDER

Run by the development environment, whose transformers knows the architecture. FOLDER is a model in the layout of
sentence-transformers; FOLDER/openvino/openvino_model.xml is its encoder as transformers computes it in float32,
converted by openvino.convert_model. It answers in the library's own OpenVINO backend (pooling and all else is the
library's). It is kept only if it equals PyTorch on texts of other lengths than the one it was traced with.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

import embedserve  # noqa: F401  # before OpenVINO, which reports its use to its makers otherwise

HIDDEN = -1e9  # added to what may not be attended to
NEAR = 1e-3  # largest difference of a token's number, of activations around 1


class Encoder(torch.nn.Module):
    """(input_ids, attention_mask) -> last_hidden_state.

    Models with sliding windows get their masks from here, since transformers makes Gemma's by torch.vmap, which cannot
    be traced, and since OpenVINO makes NaN of a row that its boolean mask hides from every token (padding far from
    any text). So the masks are numbers that are added.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.reach: int | None = None  # tokens on each side
        if config.model_type == "gemma3_text":
            self.reach = config.sliding_window - 1
        if config.model_type == "modernbert":
            self.reach = config.local_attention // 2

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask if self.reach is None else self.masks(attention_mask)
        return self.model(input_ids=input_ids, attention_mask=mask, return_dict=False)[0]

    def masks(self, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        place = torch.arange(attention_mask.shape[1])
        hidden = (1.0 - attention_mask.float())[:, None, None, :] + 0.0 * place[None, None, :, None]
        far = ((place[:, None] - place[None, :]).abs() > self.reach).float()
        return {"full_attention": HIDDEN * hidden, "sliding_attention": HIDDEN * torch.maximum(hidden, far)}


def inputs(rows: int, length: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids; each row but the first has padding, the last one mostly."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(5, vocabulary, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, rows):
        mask[row, length - row :] = 0
    if rows > 2:
        mask[-1, length // 8 :] = 0
    return ids, mask


def convert(folder: Path) -> float:
    """The largest difference to PyTorch. Raises ValueError when it is over NEAR; nothing is left then."""
    import openvino

    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    encoder, vocabulary = Encoder(model), model.config.vocab_size
    target = folder / "openvino"
    with torch.no_grad():
        converted = openvino.convert_model(
            encoder,
            example_input=dict(zip(("input_ids", "attention_mask"), inputs(2, 20, vocabulary), strict=True)),
            input=[("input_ids", [-1, -1], openvino.Type.i64), ("attention_mask", [-1, -1], openvino.Type.i64)],
        )
    converted.outputs[0].get_tensor().set_names({"last_hidden_state"})
    target.mkdir(exist_ok=True)
    openvino.save_model(converted, target / "openvino_model.xml", compress_to_fp16=False)
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = 0.0
    for rows, length in ((1, 7), (3, 33), (2, 190), (3, 400), (1, 700)):
        ids, mask = inputs(rows, length, vocabulary)
        with torch.no_grad():
            wanted = model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
        found = compiled({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
        real = mask.numpy().astype(bool)
        worst = float(np.maximum(worst, np.abs(found[real] - wanted[real]).max()))  # NaN stays
    if not worst < NEAR:
        shutil.rmtree(target)
        raise ValueError(f"the graph is not the model: {worst:.2e} apart")
    return worst


if __name__ == "__main__":
    print(f"converted; at most {convert(Path(sys.argv[1])):.1e} from PyTorch")
