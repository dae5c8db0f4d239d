"""`embedserve serve`: settings from the environment and the flags, then the server."""

from __future__ import annotations

import argparse

DRAINS = True


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="model id, alias, folder or hub id; may be given several times",
    )
    parser.add_argument("--rerank-model", metavar="NAME", help="cross-encoder that answers /rerank (none)")
    parser.add_argument("--host", help="address to bind (127.0.0.1)")
    parser.add_argument("--port", help="port to bind (4000)")
    parser.add_argument("--backend", help="auto, torch, openvino, onnx")
    parser.add_argument("--precision", help="auto, fp32, bf16, fp16, int8")
    parser.add_argument("--device", help="auto, cpu, cuda, mps")
    parser.add_argument(
        "--show-settings", action="store_true", help="print every setting and where it came from, and stop"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from embedserve.settings import load_settings

    settings = load_settings(
        model=",".join(args.model) if args.model else None,
        rerank_model=args.rerank_model,
        host=args.host,
        port=args.port,
        backend=args.backend,
        precision=args.precision,
        device=args.device,
    )
    if args.show_settings:
        from embedserve.sources import origin

        given = {f"EMBEDDING_{name.upper()}" for name, value in vars(args).items() if value}
        for name, value in settings.shown().items():
            print(f"{name}={value}  # {'flag' if name in given else origin(name)}")
        return 0
    from embedserve.api.server import run as serve

    return serve(settings)
