"""Runs in clip-retrieval's own environment, not in that of the tests: its programs, as they are, on loopback.

    python clip_retrieval_side.py back <indices.json> <port> <model> [<aesthetic.npy>]
    python clip_retrieval_side.py gallery <folder> <embeddings> <out> <model>
    python clip_retrieval_side.py client <address> <index> <request.json> <answer.json>

What is put in its place: the host that the back end listens on (it is 0.0.0.0, hard-coded), two operators that a
torchvision built for GPUs misses beside a CPU torch, and the download of the aesthetic vectors.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

if torch.version.cuda is None:
    OPERATORS = torch.library.Library("torchvision", "DEF")  # kept: it unregisters when collected
    OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def back(indices: str, port: str, model: str, aesthetic: str = "") -> None:
    import flask

    clip_back = importlib.import_module("clip_retrieval.clip_back")  # the package has a function of that name

    listen = flask.Flask.run

    def on_loopback(app, host=None, port=None, **options):
        listen(app, host="127.0.0.1", port=port, **options)

    flask.Flask.run = on_loopback
    if aesthetic:
        clip_back.get_aesthetic_embedding = lambda model_type: dict(enumerate(np.load(aesthetic)))
    clip_back.clip_back(
        indices_paths=indices,
        port=int(port),
        clip_model=model,
        use_jit=False,
        enable_mclip_option=False,
        provide_aesthetic_embeddings=bool(aesthetic),
    )


def gallery(folder: str, embeddings: str, out: str, model: str) -> None:
    from clip_retrieval.clip_index import clip_index
    from clip_retrieval.clip_inference.main import main

    what = {"enable_text": False, "enable_metadata": False, "clip_model": model, "use_jit": False}
    main(folder, embeddings, **what, num_prepro_workers=1, batch_size=32)
    clip_index(embeddings, out, max_index_memory_usage="1G", current_memory_available="2G", nb_cores=1)


def client(address: str, name: str, request: str, answer: str) -> None:
    from clip_retrieval.clip_client import ClipClient

    asked = json.loads(Path(request).read_text())
    answers = []
    for options in asked["options"]:
        there = ClipClient(url=address, indice_name=name, **options)
        answers.append([there.query(embedding_input=vector) for vector in asked["vectors"]])
    Path(answer).write_text(json.dumps(answers))


if __name__ == "__main__":
    {"back": back, "gallery": gallery, "client": client}[sys.argv[1]](*sys.argv[2:])
