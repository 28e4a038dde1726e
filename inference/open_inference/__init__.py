"""The Open Inference Protocol v2 over REST, without a framework: from bytes to columns of features, and back.

The specification is https://github.com/kserve/open-inference-protocol, with the binary tensor data extension of the
Triton Inference Server: a JSON header of ``Inference-Header-Content-Length`` bytes, then the tensors in their order.
"""
