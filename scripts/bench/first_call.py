"""Measure how long each upsampler's first training pass takes in a new process: imports, kernel compilation, and all.

    python scripts/bench/first_call.py --device cuda --output first-call.json

The cache of compiled Triton kernels is empty for the first process of each upsampler and filled for the second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import Machine

from medups.upsamplers import list_upsamplers

_PASS = """
import sys, time, torch
from medups.upsamplers import create_upsampler
name, device = sys.argv[1:]
x, guide = torch.randn(1, 64, 28, 28, device=device), torch.randn(1, 64, 56, 56, device=device)
began = time.perf_counter()
upsampler = create_upsampler(name, spatial_dims=2, in_channels=64, guide_channels=64).to(device)
upsampler(x.requires_grad_(), guide).x.sum().backward()
if device == "cuda":
    torch.cuda.synchronize()
print(time.perf_counter() - began)
"""


def first_pass(name: str, device: str, cache: str) -> float:
    """Seconds of the first forward and backward pass in a new process, after the import of torch."""
    environment = {**os.environ, "TRITON_CACHE_DIR": cache}
    command = [sys.executable, "-c", _PASS, name, device]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--upsamplers", nargs="+", default=list_upsamplers(), choices=list_upsamplers())
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    records = []
    for name in options.upsamplers:
        with tempfile.TemporaryDirectory() as cache:
            empty, filled = (first_pass(name, options.device, cache) for _ in range(2))
        records.append({"method": name, "empty_cache": empty, "filled_cache": filled})
        print(f"{name}: {empty:.2f} s, with compiled kernels {filled:.2f} s", flush=True)
    machine = Machine.measure(options.device).as_dict()
    options.output.write_text(json.dumps({"machine": machine, "first_call": records}, indent=1))


if __name__ == "__main__":
    main()
