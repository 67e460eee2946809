"""Files of measured times, made from the closed form with constants that a test chooses."""

from pathlib import Path

HEADER = "tokens,operator,in_features,out_features,median_us"
#: LLaMA-2-7B's products by Vidur's names, and a layer's passes in numbers per token: d = 4096,
#: m = 11008; add 2 d, norm 4 d, rope 3 (q + kv), activation 3 m.
PRODUCTS = {
    "attn_pre_proj": (4096, 12288),
    "attn_post_proj": (4096, 4096),
    "mlp_up_proj": (4096, 22016),
    "mlp_down_proj": (11008, 4096),
}
PASSES = {"add": 8192, "input_layernorm": 16384, "attn_rope": 24576, "mlp_act": 33024}
TOKENS = (1, 8, 64, 128, 512, 1024, 2048, 4096)
#: An A100's dense peak in FLOP/s, and its bandwidth in bytes per second.
PEAK, BANDWIDTH = 312e12, 2039e9
#: The constants of `kernel_time`, by which most presets go.
USUAL = {
    "compute": 0.75,
    "memory": 0.9,
    "exponent": 1.5,
    "launch_us": 6.0,
    "elementwise_memory": 0.8,
    "elementwise_launch_us": 2.5,
}
#: Constants that differ from every preset's.
TRUE = {
    "compute": 0.6,
    "memory": 0.8,
    "exponent": 2.0,
    "launch_us": 9.0,
    "elementwise_memory": 0.5,
    "elementwise_launch_us": 4.0,
}


def product_us(tokens, c_in, c_out, true=TRUE):
    """Return the time of a product in microseconds."""
    p = true["exponent"]
    compute = 2 * tokens * c_in * c_out / (true["compute"] * PEAK)
    moved = 2 * (tokens * c_in + c_in * c_out + tokens * c_out)
    memory = moved / (true["memory"] * BANDWIDTH)
    return 1e6 * (compute**p + memory**p) ** (1 / p) + true["launch_us"]


def pass_us(tokens, numbers, true=TRUE):
    """Return the time of an elementwise pass in microseconds."""
    memory = 2 * tokens * numbers / (true["elementwise_memory"] * BANDWIDTH)
    return 1e6 * memory + true["elementwise_launch_us"]


def measured_lines(true=TRUE, noise=0.0, passes=True, tokens=TOKENS):
    """Return the lines of a file; every other row is `noise` longer, the rest `noise` shorter."""
    lines, sign = [HEADER], 1
    for count in tokens:
        for name, (c_in, c_out) in PRODUCTS.items():
            time = product_us(count, c_in, c_out, true) * (1 + sign * noise)
            lines.append(f"{count},{name},{c_in},{c_out},{time:.3f}")
            sign = -sign
        for name, numbers in PASSES.items() if passes else ():
            time = pass_us(count, numbers, true) * (1 + sign * noise)
            lines.append(f"{count},{name},,,{time:.3f}")
            sign = -sign
        sign = -sign  # no operator is always the long one
    return lines


def measured_file(folder: Path, lines=None, name="measured.csv") -> Path:
    """Write lines to a file and return its path."""
    path = folder / name
    path.write_text("\n".join(measured_lines() if lines is None else lines) + "\n")
    return path
