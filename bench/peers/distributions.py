"""Q, K and V that trouble 8 bits: the distributions of engine/plan/problem_distribution.h (`data=` of a problem string), drawn
with numpy. The tool draws its own from that C++ file, all contenders of one measurement theirs from this one: the same
numbers describe both, their bits differ. It runs nothing but numpy."""
import numpy

from problem import DATA

BIASES = (12, -12, 9, -15)


def biased_channels(d):
    return [place * d // 64 for place in (3, 17, 40, 59)]


def apply(name, seed, q, k, v):
    """Changes q [B,Hq,Sq,D], k [B,Hkv,Skv,D] and v [B,Hkv,Skv,D] of N(0,1), float32, in place; depends on its arguments only."""
    if name not in DATA:
        raise ValueError(f"data={name}: expected {'|'.join(DATA)}")
    tokens, directions, sizes = (numpy.random.default_rng([seed, purpose]) for purpose in (1, 2, 3))
    channels = biased_channels(q.shape[-1])
    if name in ("kbias", "all"):
        if q.shape[-1] < 4:
            raise ValueError(f"data={name}: d of 4 or more: so many channels are biased")
        for channel, bias in zip(channels, BIASES):
            k[..., channel] += bias
            q[..., channel] *= 1.5
    if name == "all":  # one token in a hundred is three times as large, in K but for the biased channels
        others = numpy.setdiff1d(numpy.arange(k.shape[-1]), channels)
        k[..., others] *= numpy.where(tokens.random(k.shape[:-1]) < 0.01, 3, 1).astype(numpy.float32)[..., None]
        q *= numpy.where(tokens.random(q.shape[:-1]) < 0.01, 3, 1).astype(numpy.float32)[..., None]
    if name in ("sink", "all"):  # Q leans towards a direction in which key 0 stands out; its V is small
        direction = directions.standard_normal(k.shape[:2] + k.shape[-1:])
        direction = (direction / numpy.linalg.norm(direction, axis=-1, keepdims=True)).astype(numpy.float32)
        q += 4 * numpy.repeat(direction, q.shape[1] // k.shape[1], axis=1)[:, :, None]
        k[:, :, 0] += 16 * direction
        v[:, :, 0] *= numpy.float32(0.05)
    if name in ("vspread", "all"):
        size = numpy.exp(1.2 * sizes.standard_normal(v.shape[:2] + v.shape[-1:]))
        offset = 2 * sizes.standard_normal(size.shape) * size
        v *= size.astype(numpy.float32)[:, :, None]
        v += offset.astype(numpy.float32)[:, :, None]
