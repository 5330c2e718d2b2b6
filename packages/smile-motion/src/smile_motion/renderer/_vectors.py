"""Vector instructions of painting, sixteen pixels at a time.

They are explicit, because the compiler vectorizes the loops only for processors with AVX-512: on
those with AVX2 its code takes two to five times as long (docs/performance.md). They are LLVM's
portable vectors, which run on all processors, of integers, so that all give the same bits. numba
caches the machine code of a loop until the loop's own file changes: after a change here, remove
`__pycache__`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Pixels per step."""
_BYTE, _SHORT, _WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_PIXELS = ir.VectorType(_WORD, LANES)
"""Sixteen pixels of one word: premultiplied red in the lowest byte, then green, blue, alpha."""
_FIELDS = ir.VectorType(_SHORT, 2 * LANES)
"""The same pixels as fields of 16 bits, for two channels each."""
_ORDER = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
"""Order in which AVX2 splits sixteen pairs without crossing the halves of its registers."""
_HALF = 8
"""Pixels that fill a register of AVX2 once their three bytes are widened to four."""


def _constant(kind: ir.VectorType, values: int | Sequence[int]) -> ir.Constant:
    listed = [values] * kind.count if isinstance(values, int) else list(values)
    return ir.Constant(kind, listed)


def _spread(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    """Broadcast a scalar to all lanes."""
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_WORD, 0))
    zeros = ir.Constant(ir.VectorType(_WORD, kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, empty, zeros)


def _pick(builder: Any, vector: Any, lanes: Sequence[int], other: Any = None) -> Any:
    """Shuffle the lanes of one vector, or of two."""
    mask = _constant(ir.VectorType(_WORD, len(lanes)), lanes)
    other = ir.Constant(vector.type, ir.Undefined) if other is None else other
    return builder.shuffle_vector(vector, other, mask)


def _address(builder: Any, data: Any, at: Any, kind: ir.Type) -> Any:
    return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())


Generate = Callable[[Any, Any, Any, Any], Any]


@intrinsic
def mix_sixteen(
    typing_context, mixed, into, pairs, at, u, v, step_u, step_v
) -> tuple[Any, Generate]:
    """Interpolate sixteen samples bilinearly.

    Args:
        mixed: (n,) uint32: premultiplied RGBA, written from `into` on.
        into: Index of the first sample in `mixed`.
        pairs: (2, m) uint64: the upper and the lower two neighbors of each sample.
        at: Index of the first sample in `pairs`.
        u: int32: fixed-point x of the first sample in its level.
        v: int32: fixed-point y of the first sample in its level.
        step_u: int32: step of x from one sample to the next.
        step_v: int32: step of y from one sample to the next.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mixed, into, pairs, at, u, v, step_u, step_v = arguments
        target = context.make_array(signature.args[0])(context, builder, mixed)
        source = context.make_array(signature.args[2])(context, builder, pairs)
        row = cgutils.unpack_tuple(builder, source.shape)[1]
        both = ir.VectorType(_WORD, 2 * LANES)
        first = builder.trunc(at, _WORD)
        lanes = _constant(_PIXELS, _ORDER)

        def part(start: Any, step: Any) -> Any:
            """The eight bits after the point, in both fields of a lane."""
            here = builder.add(start, builder.mul(first, step))
            along = builder.mul(lanes, _spread(builder, step, _PIXELS))
            place = builder.add(_spread(builder, here, _PIXELS), along)
            bits = builder.lshr(place, _constant(_PIXELS, 8))
            bits = builder.and_(bits, _constant(_PIXELS, 255))
            twice = builder.or_(bits, builder.shl(bits, _constant(_PIXELS, 16)))
            return builder.bitcast(twice, _FIELDS)

        part_u, part_v = part(u, step_u), part(v, step_v)
        w11 = builder.lshr(builder.mul(part_u, part_v), _constant(_FIELDS, 8))
        w01, w10 = builder.sub(part_u, w11), builder.sub(part_v, w11)
        w00 = builder.sub(builder.sub(_constant(_FIELDS, 256), part_u), w10)

        even = red_blue = green_alpha = None
        for start, weights in ((at, (w00, w01)), (builder.add(row, at), (w10, w11))):
            pair = builder.load(_address(builder, source.data, start, both), align=8)
            for side, weight in enumerate(weights):
                even = _pick(builder, pair, [2 * lane + side for lane in _ORDER])
                fields = builder.bitcast(even, _FIELDS)
                low = builder.and_(fields, _constant(_FIELDS, 255))
                high = builder.lshr(fields, _constant(_FIELDS, 8))
                low, high = builder.mul(low, weight), builder.mul(high, weight)
                red_blue = low if red_blue is None else builder.add(red_blue, low)
                green_alpha = high if green_alpha is None else builder.add(green_alpha, high)
        half = _constant(_FIELDS, 128)
        red_blue = builder.lshr(builder.add(red_blue, half), _constant(_FIELDS, 8))
        green_alpha = builder.and_(builder.add(green_alpha, half), _constant(_FIELDS, 0xFF00))
        result = builder.bitcast(builder.or_(red_blue, green_alpha), _PIXELS)
        back = [_ORDER.index(lane) for lane in range(LANES)]
        result = _pick(builder, result, back)
        builder.store(result, _address(builder, target.data, into, _PIXELS), align=4)
        return context.get_dummy_value()

    word = types.int32
    arguments = mixed, types.uint64, pairs, types.uint64, word, word, word, word
    return types.void(*arguments), generate


@intrinsic
def blend_sixteen(typing_context, row, place, mixed, at) -> tuple[Any, Generate]:
    """Composite sixteen premultiplied pixels over a row of a frame.

    Args:
        row: (3 * W,) uint8 RGB, painted in place.
        place: Index of the first byte in `row`.
        mixed: (n,) uint32: premultiplied RGBA.
        at: Index of the first pixel in `mixed`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, place, mixed, at = arguments
        target = context.make_array(signature.args[0])(context, builder, row)
        source = context.make_array(signature.args[2])(context, builder, mixed)
        pixels = ir.VectorType(_BYTE, 4 * _HALF)
        fields = ir.VectorType(_SHORT, 2 * _HALF)
        register = ir.VectorType(_BYTE, 16)
        for step in range(0, LANES, _HALF):

            def byte(offset: int, step: int = step) -> Any:
                return builder.add(place, ir.Constant(place.type, 3 * step + offset))

            def shorts(value: Any) -> Any:
                return builder.bitcast(value, fields)

            start = builder.add(at, ir.Constant(at.type, step))
            above = builder.load(_address(builder, source.data, start, pixels), align=4)
            first = builder.load(_address(builder, target.data, byte(0), register), align=1)
            second = builder.load(_address(builder, target.data, byte(8), register), align=1)
            spaced = [3 * (lane // 4) + min(lane % 4, 2) for lane in range(16)]
            later = [20 + lane for lane in spaced]
            below = shorts(_pick(builder, first, [*spaced, *later], second))
            alpha = _pick(builder, above, [lane | 3 for lane in range(4 * _HALF)])
            keep = builder.lshr(shorts(builder.not_(alpha)), _constant(fields, 8))
            kept = []
            for half in (
                builder.and_(below, _constant(fields, 255)),
                builder.lshr(below, _constant(fields, 8)),
            ):
                # (n + (n >> 8)) >> 8 after adding a half is n / 255, rounded.
                total = builder.add(builder.mul(half, keep), _constant(fields, 128))
                total = builder.add(total, builder.lshr(total, _constant(fields, 8)))
                kept.append(total)
            low = builder.lshr(kept[0], _constant(fields, 8))
            high = builder.and_(kept[1], _constant(fields, 0xFF00))
            result = builder.add(builder.bitcast(builder.or_(low, high), pixels), above)
            packed = [lane for lane in range(4 * _HALF) if lane % 4 < 3]
            left = _pick(builder, result, [*packed[:12], 3, 7, 11, 15])
            right = _pick(builder, result, [*packed[12:], 19, 23, 27, 31])
            builder.store(left, _address(builder, target.data, byte(0), register), align=1)
            eight, four = ir.VectorType(_BYTE, 8), ir.VectorType(_BYTE, 4)
            for offset, kind, lanes in ((12, eight, range(8)), (20, four, range(8, 12))):
                part = _pick(builder, right, list(lanes))
                builder.store(part, _address(builder, target.data, byte(offset), kind), align=1)
        return context.get_dummy_value()

    return types.void(row, types.uint64, mixed, types.uint64), generate


@intrinsic
def mark_sixteen(typing_context, ids, place, mixed, at, label) -> tuple[Any, Generate]:
    """Write a label where sixteen pixels have alpha >= 0.5; return the number of these.

    Args:
        ids: (W,) uint8: a row of the id map, written in place.
        place: Index of the first pixel in `ids`.
        mixed: (n,) uint32: premultiplied RGBA.
        at: Index of the first pixel in `mixed`.
        label: uint8: slot + 1.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ids, place, mixed, at, label = arguments
        target = context.make_array(signature.args[0])(context, builder, ids)
        source = context.make_array(signature.args[2])(context, builder, mixed)
        kind = ir.VectorType(_BYTE, LANES)
        above = builder.load(_address(builder, source.data, at, _PIXELS), align=4)
        solid = builder.icmp_signed("<", above, _constant(_PIXELS, 0))
        address = _address(builder, target.data, place, kind)
        below = builder.load(address, align=1)
        builder.store(builder.select(solid, _spread(builder, label, kind), below), address, align=1)
        count = builder.ctpop(builder.bitcast(solid, _SHORT))
        return builder.zext(count, ir.IntType(64))

    return types.int64(ids, types.uint64, mixed, types.uint64, types.uint8), generate
