"""Sums over windows of channels within a Triton kernel, and the normalisation made of them.

A tile is (P pixels, C channels), C a power of two. A thread holds LANES adjacent channels, as many as it loads in 16
bytes. A tile taken apart is LANES tensors (P, C / LANES), of which a thread holds one value each: neighbours in the
same thread cost nothing, and the few beyond its border one exchange each. A band matrix or `tl.gather` over whole tiles
exchanges every value several times.

BACK, AHEAD: channels of a window before and after its own. SPAN: groups of LANES channels that are normalised together.
RAGGED: CHANNELS that are normalised together are no multiple of LANES, and there are several blocks of them.
"""

import triton
import triton.language as tl


@triton.jit
def apart(x, LANES: tl.constexpr):
    """(P, C) -> LANES tensors (P, C / LANES); the first has channels 0, LANES, 2 LANES, ..."""
    pixels: tl.constexpr = x.shape[0]
    groups: tl.constexpr = x.shape[1] // LANES
    if LANES == 8:
        even, odd = tl.split(tl.reshape(x, (pixels, groups, 2, 2, 2)))
        a, c = tl.split(even)
        b, d = tl.split(odd)
        x0, x4 = tl.split(a)
        x1, x5 = tl.split(b)
        x2, x6 = tl.split(c)
        x3, x7 = tl.split(d)
        lanes = (x0, x1, x2, x3, x4, x5, x6, x7)
    else:
        even, odd = tl.split(tl.reshape(x, (pixels, groups, 2, 2)))
        x0, x2 = tl.split(even)
        x1, x3 = tl.split(odd)
        lanes = (x0, x1, x2, x3)
    return lanes


@triton.jit
def together(lanes, LANES: tl.constexpr):
    """The inverse of `apart`."""
    pixels: tl.constexpr = lanes[0].shape[0]
    channels: tl.constexpr = lanes[0].shape[1] * LANES
    if LANES == 8:
        even = tl.join(tl.join(lanes[0], lanes[4]), tl.join(lanes[2], lanes[6]))
        odd = tl.join(tl.join(lanes[1], lanes[5]), tl.join(lanes[3], lanes[7]))
    else:
        even = tl.join(lanes[0], lanes[2])
        odd = tl.join(lanes[1], lanes[3])
    return tl.reshape(tl.join(even, odd), (pixels, channels))


@triton.jit
def moved(x, BY: tl.constexpr, SPAN: tl.constexpr):
    """(P, G): at group g the value of group g + BY, or 0 where that belongs to another block or to none."""
    pixels: tl.constexpr = x.shape[0]
    groups: tl.constexpr = x.shape[1]
    here = tl.arange(0, groups)[None, :]
    there = here + BY
    inside = (there >= 0) & (there < groups) & (there // SPAN == here // SPAN)
    index = tl.broadcast_to(tl.where(inside, there, here), (pixels, groups))
    return tl.where(inside, tl.gather(x, index, 1), 0.0)


@triton.jit
def window_sum(
    x,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """(P, C) float32 -> at each channel the sum from BACK channels before it to AHEAD after it, within its block."""
    lanes = apart(x, LANES)
    wide = ()
    for place in tl.static_range(-BACK, LANES + AHEAD):
        if place // LANES == 0:
            wide = wide + (lanes[place % LANES],)
        else:
            wide = wide + (moved(lanes[place % LANES], place // LANES, SPAN),)
    sums = ()
    for lane in tl.static_range(LANES):
        total = lanes[lane]
        for step in tl.static_range(BACK + AHEAD + 1):
            if step != BACK:
                term = wide[lane + step]
                if RAGGED:
                    channel = tl.arange(0, x.shape[1] // LANES)[None, :] * LANES + lane
                    other = channel + step - BACK
                    term = tl.where(other // CHANNELS == channel // CHANNELS, term, 0.0)
                total = total + term
        sums = sums + (total,)
    return together(sums, LANES)


@triton.jit
def roots(
    a,
    alpha,
    k,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """1 / s and s^-3/4, where s = k + alpha * sum of a² over the window (Krizhevsky et al. 2012, section 3.3)."""
    t = tl.rsqrt(k + alpha * window_sum(a * a, BACK, AHEAD, LANES, CHANNELS, SPAN, RAGGED))
    return t * t, t * tl.sqrt(t)


@triton.jit
def lrn_gradient(
    a,
    d,
    inverse,
    power,
    alpha,
    BACK: tl.constexpr,
    AHEAD: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPAN: tl.constexpr,
    RAGGED: tl.constexpr,
):
    """d s^-3/4 - 3/2 alpha a * sum of d a s^-7/4 over all whose window reaches here: the gradient of a s^-3/4."""
    direct = d * power
    reached = window_sum(direct * a * inverse, AHEAD, BACK, LANES, CHANNELS, SPAN, RAGGED)
    return direct - 1.5 * alpha * a * reached


@triton.jit
def activation(x, at, inside, bias, RELU: tl.constexpr):
    """x[at] + bias in float32, 0 outside, and the same after the ReLU where there is one; NaN stays NaN."""
    raw = tl.load(x + at, mask=inside, other=0.0).to(tl.float32) + bias
    a = raw
    if RELU:
        a = tl.where(raw <= 0, 0.0, raw)
    return raw, a


@triton.jit
def bias_of(bias, c, held, BIASED: tl.constexpr):
    """(1, C) float32: the bias of each channel, 0 where there is none."""
    if BIASED:
        found = tl.load(bias + c, mask=held, other=0.0).to(tl.float32)
    else:
        found = tl.zeros(c.shape, tl.float32)
    return found[None, :]
