"""PyTorch on the CPU as one side of the race: argv is a contest's name and a safetensors file of its inputs.

Speaks the same lines as child.ts: commands on stdin, answers on descriptor 3.
"""
import json
import os
import sys
import time

import numpy
import torch
import torch.nn.functional as F

torch.set_num_threads(os.cpu_count() or 1)
answers = os.fdopen(3, "w", buffering=1)


def answer(message):
    answers.write(json.dumps(message) + "\n")


def read_inputs(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        body = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(body[begin:end], dtype=numpy.float32).copy()
        tensors[name] = torch.from_numpy(values).reshape(entry["shape"])
    return tensors


def channels_first(x):
    return x.permute(0, 3, 1, 2).contiguous()


def kernel(contest, inputs):
    if contest.startswith("matmul"):
        return lambda: inputs["x"] @ inputs["w"].T
    x, dy, w = channels_first(inputs["x"]), channels_first(inputs["dy"]), inputs["w"]
    if contest.endswith("forward"):
        return lambda: F.conv2d(x, w, padding=1)
    if contest.endswith("input"):
        return lambda: torch.nn.grad.conv2d_input(x.shape, w, dy, padding=1)
    return lambda: torch.nn.grad.conv2d_weight(x, w.shape, dy, padding=1)


def cnn(w, x):
    for layer in ("conv1", "conv2"):
        x = F.max_pool2d(F.relu(F.conv2d(x, w[layer + ".weight"], w[layer + ".bias"], padding=2)), 2)
    return F.linear(x.flatten(1), w["fc.weight"], w["fc.bias"])


def resnet18(w, x):
    def normalised(x, convolution, norm, stride):
        filters = w[convolution + ".weight"]
        y = F.conv2d(x, filters, stride=stride, padding=(filters.shape[-1] - 1) // 2)
        return F.batch_norm(
            y, w[norm + ".running_mean"], w[norm + ".running_var"], w[norm + ".weight"], w[norm + ".bias"], True
        )

    x = F.relu(normalised(x, "conv1", "bn1", 1))
    for stage in range(1, 5):
        for i in range(2):
            name, stride = f"layer{stage}.{i}", 2 if i == 0 and stage > 1 else 1
            y = F.relu(normalised(x, f"{name}.conv1", f"{name}.bn1", stride))
            y = normalised(y, f"{name}.conv2", f"{name}.bn2", 1)
            x = F.relu(y + (normalised(x, f"{name}.downsample.0", f"{name}.downsample.1", 2) if stride == 2 else x))
    return F.linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])


def training(contest, inputs):
    images, labels = channels_first(inputs.pop("images")), inputs.pop("labels").long()
    learned = [values.requires_grad_() for name, values in inputs.items() if "running" not in name]
    forward = cnn if contest == "cnn-step" else resnet18
    optimizer = (torch.optim.Adam if contest == "cnn-step" else torch.optim.SGD)(learned, lr=1e-3)
    losses = []

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(inputs, images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    return step, losses


def main(contest, path):
    inputs = read_inputs(path)
    if contest.endswith("step"):
        step, losses = training(contest, inputs)

        def check():
            while len(losses) < 3:
                step()
            return losses[:3]

    else:
        step = kernel(contest, inputs)

        def check():
            result = step().double()
            return [result.abs().mean().item(), result.square().mean().sqrt().item()]

    answer({"device": f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"})
    for line in sys.stdin:
        order = json.loads(line)
        if order["command"] == "check":
            answer({"values": check()})
            continue
        times = []
        while not times or sum(times) < order["milliseconds"]:
            begin = time.perf_counter()
            step()
            times.append((time.perf_counter() - begin) * 1000)
        answer({"times": times})


try:
    main(*sys.argv[1:])
except Exception as error:
    answer({"failure": str(error)})
