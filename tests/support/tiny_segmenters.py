"""Small segmenters: a CLIPSeg with random weights, and an ONNX model that truly segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.tiny_models import seeded, text_config, tiny_tokenizer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def write_tiny_clipseg(folder: Path, *, size_px: int = 64, seed: int = 4) -> Path:
    """Write a CLIPSeg with its processor, as `save_pretrained` does for the hub."""
    from transformers import (
        CLIPSegConfig,
        CLIPSegForImageSegmentation,
        CLIPSegProcessor,
        ViTImageProcessor,
    )

    tokenizer = tiny_tokenizer(merges=1000)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": size_px,
        "patch_size": 16,
    }
    with seeded(seed):
        model = CLIPSegForImageSegmentation(
            CLIPSegConfig(
                text_config=text_config(len(tokenizer)),
                vision_config=vision,
                projection_dim=16,
                extract_layers=[0, 1, 2],
                reduce_dim=16,
                decoder_num_attention_heads=2,
                decoder_intermediate_size=32,
                conditional_layer=0,
            )
        ).eval()
        # The initial weights are too small for image or prompt to matter.
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                gain = 8 if "text_model" in name or "film" in name else 1
                parameter.data.normal_(0, gain / parameter[0].numel() ** 0.5)
    processor = ViTImageProcessor(
        size={"height": size_px, "width": size_px},
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )
    model.save_pretrained(folder)
    CLIPSegProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def write_tiny_onnx_segmenter(
    path: Path,
    *,
    size_px: int = 64,
    batch: int | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    sigmoid: bool = True,
    threshold: float = 0.15,
    sharpness: float = 60.0,
    input_name: str = "input",
    output_name: str = "mask",
    outputs: int = 1,
    half: bool = False,
    describe: bool = True,
) -> Path:
    """Write a model that finds what differs in colour from the image's border, and its TOML.

    It undoes the normalisation, so that a wrong one gives a wrong mask: known shapes on plain
    backgrounds give known masks.

    Args:
        batch: None leaves the number of images open; 1 fixes it, as BiRefNet's exports do.
        sigmoid: Part of the model; else the TOML asks for it.
        threshold: Difference from the border's mean, largest channel of 0..1, where the mask is
            0.5.
        outputs: More than one adds the mask's complements after it, named `side1` and so on.
        half: In float16, input and output too.
        describe: Write the TOML.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    real, kind = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    constants = {
        "std": np.array(std, real).reshape(1, 3, 1, 1),
        "mean": np.array(mean, real).reshape(1, 3, 1, 1),
        "first": np.array([0]),
        "second": np.array([1]),
        "last": np.array([size_px - 1]),
        "end": np.array([size_px]),
        "rows": np.array([2]),
        "columns": np.array([3]),
        "quarter": np.array(0.25, real),
        "box": np.full((1, 1, 3, 3), 1 / 9, real),
        "threshold": np.array(threshold, real),
        "sharpness": np.array(sharpness, real),
        "one": np.array(1, real),
    }
    edges = {
        "top": ("first", "second", "rows"),
        "bottom": ("last", "end", "rows"),
        "left": ("first", "second", "columns"),
        "right": ("last", "end", "columns"),
    }
    node = helper.make_node
    nodes = [node("Mul", [input_name, "std"], ["scaled"]), node("Add", ["scaled", "mean"], ["rgb"])]
    for edge, (start, stop, axis) in edges.items():
        nodes.append(node("Slice", ["rgb", start, stop, axis], [edge]))
        nodes.append(node("ReduceMean", [edge], [f"{edge}_mean"], axes=[2, 3], keepdims=1))
    result = "probability" if sigmoid else "logit"
    nodes += [
        node("Sum", [f"{edge}_mean" for edge in edges], ["edges"]),
        node("Mul", ["edges", "quarter"], ["border"]),
        node("Sub", ["rgb", "border"], ["difference"]),
        node("Abs", ["difference"], ["size"]),
        node("ReduceMax", ["size"], ["distance"], axes=[1], keepdims=1),
        node("Conv", ["distance", "box"], ["smooth"], pads=[1, 1, 1, 1]),
        node("Sub", ["smooth", "threshold"], ["over"]),
        node("Mul", ["over", "sharpness"], ["logit"]),
        node("Sigmoid", ["logit"], ["probability"]),
        node("Identity", [result], [output_name]),
    ]
    names = [output_name, *(f"side{number}" for number in range(1, outputs))]
    nodes += [node("Sub", ["one", result], [name]) for name in names[1:]]
    images = batch or "N"
    graph = helper.make_graph(
        nodes,
        "border_difference",
        [helper.make_tensor_value_info(input_name, kind, [images, 3, size_px, size_px])],
        [
            helper.make_tensor_value_info(name, kind, [images, 1, size_px, size_px])
            for name in names
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    if describe:
        lines = [f"size_px = {size_px}", f"mean = {list(mean)}", f"std = {list(std)}"]
        lines += [f'output = "{output_name}"'] * (outputs > 1)
        lines += ["sigmoid = true"] * (not sigmoid)
        path.with_suffix(".toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
