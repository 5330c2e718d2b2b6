import torch
from smile_motion.tokens import TokenGrid
from smile_train.config.pretrain import PretrainConfig
from smile_train.models.layers import Attention, Linear
from smile_train.models.mae import PretrainModel
from smile_train.training.flops import count_flops, student_flops


def test_a_linear_layer_and_attention_are_counted_as_by_hand() -> None:
    tokens, width = 7, 24
    x = torch.empty(2, tokens, width, device="meta")
    layer = Linear(width, 36)
    weight = layer.weight.clone()
    assert count_flops(layer, x) == 2 * 2 * tokens * width * 36
    assert torch.equal(layer.weight, weight)
    # Queries, keys, values and the output; then scores and their sums over values.
    products = 2 * 2 * tokens * width * width * 4
    assert count_flops(Attention(width, 4), x) == products + 2 * 4 * tokens * tokens * width


def test_a_student_is_counted_as_by_hand() -> None:
    config = PretrainConfig(student="tiny", size=64, mask_ratio=0.75, target="pixel")
    model = PretrainModel(config.student_config, config.grid, target_dim=40)

    def blocks(tokens: int, width: int, depth: int) -> float:
        linear = 2 * tokens * width * width * (4 + 2 * config.student_config.mlp_ratio)
        return depth * (linear + 4 * tokens * tokens * width)

    student = config.student_config
    assert config.grid == TokenGrid(height=64, width=64)
    visible, hidden = 32, 96
    by_hand = (
        blocks(visible, student.width, student.depth)
        + blocks(visible + hidden, student.decoder_width, student.decoder_depth)
        + 2 * visible * 3 * config.grid.token_pixels * student.width
        + 2 * visible * student.width * student.decoder_width
        + 2 * hidden * student.decoder_width * 40
    )
    assert student_flops(model, config) == by_hand
    more = PretrainModel(
        config.student_config, config.grid, 40, predict_visible=True, target_layers=(2, 4)
    )
    joined = 2 * visible * student.width * (2 * student.width + student.decoder_width)
    alone = 2 * visible * student.width * student.decoder_width
    seen = 2 * visible * student.decoder_width * 40
    assert student_flops(more, config) == by_hand + joined - alone + seen
